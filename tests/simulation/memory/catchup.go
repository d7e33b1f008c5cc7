package memory

import (
	"context"
	"slices"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// EventsAfter lists the tenant's events beyond a sequence as far as fan-out has come, oldest first.
func (s *Store) EventsAfter(ctx context.Context, owner tenant.ID, sequence int64, limit int) (list []queries.Event, err error) {
	done, err := s.read(ctx)
	defer done()
	fannedOut := s.fannedOut(owner)
	for _, e := range s.events.under(string(owner)) {
		if e.sequence > sequence && e.sequence < fannedOut {
			list = append(list, e.listed())
		}
	}
	slices.SortFunc(list, func(a, b queries.Event) int { return int(a.Sequence - b.Sequence) })
	return list[:min(len(list), limit)], err
}

// NewestOf is each event's newest delivery in the lane; see catchup.Reader.
func (s *Store) NewestOf(ctx context.Context, lane dispatch.Lane, eventIDs []string) (map[string]delivery.Delivery, error) {
	done, err := s.read(ctx)
	defer done()
	newest := map[string]delivery.Delivery{}
	for _, from := range []*table[queued]{s.open, s.closed} {
		for _, q := range from.under(string(lane.Tenant)) {
			if q.SubscriptionID == lane.SubscriptionID && slices.Contains(eventIDs, q.EventID) && q.ID > newest[q.EventID].ID {
				newest[q.EventID] = q.shown()
			}
		}
	}
	return newest, err
}
