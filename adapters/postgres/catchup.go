package postgres

import (
	"context"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var eventsAfter = `SELECT ` + eventColumns + ` FROM events WHERE tenant_id = $1 AND sequence > $2
	AND sequence < ` + fannedOut + ` ORDER BY sequence LIMIT $3`

// EventsAfter lists the tenant's events beyond a sequence, up to where fan-out has come, oldest first.
func (s *Store) EventsAfter(ctx context.Context, owner tenant.ID, sequence int64, limit int) ([]queries.Event, error) {
	return all(ctx, s.db.forUsers(ctx), scanEvent, eventsAfter, owner, sequence, limit)
}

var laneDeliveries = `SELECT d.* FROM unnest($1::text[]) AS k (id) CROSS JOIN LATERAL (
	SELECT ` + openColumns + ` FROM ` + openOfEvent("$2", "k.id") + ` WHERE subscription_id = $3
	UNION ALL SELECT ` + deliveryColumns + `, NULL::bigint FROM ` + closedOfEvent("$2", "k.id") + ` WHERE subscription_id = $3) AS d`

// NewestOf is each event's newest delivery in the lane; see catchup.Reader.
func (s *Store) NewestOf(ctx context.Context, lane dispatch.Lane, eventIDs []string) (map[string]delivery.Delivery, error) {
	found, err := all(ctx, s.db.forUsers(ctx), listed(), laneDeliveries, eventIDs, lane.Tenant, lane.SubscriptionID)
	newest := make(map[string]delivery.Delivery, len(found))
	for _, d := range found {
		if d.ID > newest[d.EventID].ID {
			newest[d.EventID] = d
		}
	}
	return newest, err
}
