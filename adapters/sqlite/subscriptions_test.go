package sqlite

import (
	"context"
	"strings"
	"testing"
)

// What reads a tenant's subscriptions passes by those that were deleted.
func TestLiveSubscriptionsAreFoundByTheirIndex(t *testing.T) {
	db := openEmpty(t)
	s := NewStore(db, nil)
	for _, call := range []string{"SubscriptionsAt", "CountSubscriptions", "ListSubscriptions"} {
		var plans string
		for _, query := range statementsOf(t, db, func(ctx context.Context) error { return hot[call](ctx, s) }) {
			plans += strings.Join(explain(t, db, query), "\n")
		}
		if !strings.Contains(plans, "INDEX subscriptions_live") {
			t.Errorf("%s: %s", call, plans)
		}
	}
}
