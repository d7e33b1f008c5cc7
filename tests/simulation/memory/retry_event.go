package memory

import (
	"context"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// HoldEvent is Event; there is one writer.
func (s *Store) HoldEvent(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	return s.Event(ctx, owner, id)
}

// FanOutAgain names the event anew; see queries.EventRetryStore.
func (s *Store) FanOutAgain(ctx context.Context, e queries.Event, retried queries.Retried) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		var gated []key
		for k := range s.gated.under(string(e.Tenant), e.ID) {
			gated = append(gated, k)
		}
		for _, k := range gated {
			s.gated.drop(tx, k)
		}
		hour := hourKey(e.Tenant, reconciliation.HourOf(e.AcceptedAt))
		if h, found := s.hours.get(hour); found {
			h.Events--
			h.Expected -= e.SetAside.Expected()
			h.NotMatched -= e.SetAside.NotMatched
			h.FeatureGated -= e.SetAside.FeatureGated
			h.SetAside -= e.SetAside.SetAside
			s.hours.put(tx, hour, h)
		}
		r, err := s.append(tx, record{topic: records.TopicEvents, at: retried.At, events: []intake.EventKey{{Tenant: e.Tenant, ID: e.ID}}})
		if err != nil {
			return err
		}
		k := keyOf(e.Tenant, e.ID)
		stored, _ := s.events.get(k)
		stored.sequence, stored.setAside, stored.retried = r.position*maxEventsPerRecord, nil, &retried
		s.events.put(tx, k, stored)
		return nil
	})
}

// CountSetAside counts the events of all tenants that fan-out could not handle.
func (s *Store) CountSetAside(ctx context.Context) (n int, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, e := range s.events.all() {
		if e.setAside != nil {
			n++
		}
	}
	return n, err
}
