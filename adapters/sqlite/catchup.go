package sqlite

import (
	"context"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var eventsAfter = `SELECT ` + eventColumns + ` FROM events WHERE tenant_id = ?1 AND sequence > ?2
	AND sequence < ` + fannedOut + ` ORDER BY sequence LIMIT ?3`

// EventsAfter lists the tenant's events after a sequence, as far as fan-out has come, oldest first.
func (s *Store) EventsAfter(ctx context.Context, owner tenant.ID, sequence int64, limit int) ([]queries.Event, error) {
	return all(ctx, s.db.forUsers(), scanEvent, eventsAfter, owner, sequence, limit)
}

var laneDeliveries = `SELECT ` + openColumns + ` FROM json_each(?1) k CROSS JOIN open_deliveries INDEXED BY open_deliveries_by_event
	ON tenant_id = ?2 AND event_id = k.value AND subscription_id = ?3
	UNION ALL SELECT ` + deliveryColumns + `, NULL FROM json_each(?1) k CROSS JOIN closed_deliveries INDEXED BY closed_deliveries_by_event
	ON tenant_id = ?2 AND event_id = k.value AND subscription_id = ?3`

// NewestOf is each event's newest delivery in the lane; see catchup.Reader.
func (s *Store) NewestOf(ctx context.Context, lane dispatch.Lane, eventIDs []string) (map[string]delivery.Delivery, error) {
	wanted, err := list(eventIDs)
	if err != nil {
		return nil, err
	}
	found, err := all(ctx, s.db.forUsers(), scanListed, laneDeliveries, wanted, lane.Tenant, lane.SubscriptionID)
	newest := make(map[string]delivery.Delivery, len(found))
	for _, d := range found {
		if d.ID > newest[d.EventID].ID {
			newest[d.EventID] = d
		}
	}
	return newest, err
}
