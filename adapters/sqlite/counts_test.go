package sqlite

import (
	"context"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Whoever has seen how many dead letters a subscription has lists them next: what its tenant's others gave up, and what it got, is not read.
func TestDeadLettersOfASubscriptionHaveAnIndex(t *testing.T) {
	db := filled(t, 10)
	s := NewStore(db, nil)
	for _, query := range statementsOf(t, db, func(ctx context.Context) error {
		_, err := s.Deliveries(ctx, queries.DeliveryFilter{Tenant: "t1", Status: delivery.StatusDeadLetter, SubscriptionID: "sub_1", Limit: 10})
		return err
	}) {
		if plan := strings.Join(explain(t, db, query), "; "); !strings.Contains(plan, "closed_deliveries_dead (tenant_id=? AND subscription_id=?") {
			t.Errorf("%s\nhas the plan %s", query, plan)
		}
	}
}
