package memory

import (
	"context"
	"slices"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Purge deletes what is old; see retention.Store.
func (s *Store) Purge(ctx context.Context, before retention.Cutoffs, limit int) (deleted int, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		handled, _ := s.offsets.get(keyOf("", fanout.Group, records.TopicEvents))
		for _, k := range slices.Clone(s.closed.keys) {
			q, _ := s.closed.get(k)
			cutoff := before.Attempts
			if q.Status == delivery.StatusDeadLetter {
				cutoff = before.DeadLetters
			}
			if q.UpdatedAt.Before(cutoff) && deleted < limit {
				s.closed.drop(tx, k)
				s.streams.drop(tx, keyOf(q.Tenant, deliveryStream+q.ID))
				deleted++
			}
		}
		kept := s.eventsOfDeliveries()
		for _, k := range slices.Clone(s.events.keys) {
			e, _ := s.events.get(k)
			if e.At.Before(before.Events) && e.sequence < s.fannedOut(e.TenantID) && !kept[k] && deleted < limit {
				s.dropEvent(tx, k)
				deleted++
			}
		}
		for _, k := range slices.Clone(s.jobs.keys) {
			if j, _ := s.jobs.get(k); !j.Open() && j.CreatedAt.Before(before.Attempts) {
				s.jobs.drop(tx, k)
				deleted++
			}
		}
		live, newest := s.generations()
		for _, k := range slices.Clone(s.attempts.keys) {
			c, _ := s.attempts.get(k)
			leftOver := c.generation != live && c.generation != newest
			if (leftOver || c.Minute < before.Attempts.Unix()/60) && deleted < limit {
				s.attempts.drop(tx, k)
				deleted++
			}
		}
		s.purgeHours(tx, before.Counted())
		deleted += s.purgeLog(tx, before, handled)
		return nil
	})
	return deleted, err
}

func (s *Store) eventsOfDeliveries() map[key]bool {
	events := map[key]bool{}
	for _, from := range []*table[queued]{s.open, s.closed} {
		for _, q := range from.all() {
			events[keyOf(q.Tenant, q.EventID)] = true
		}
	}
	return events
}

func (s *Store) dropEvent(tx *tx, event key) {
	var bodies, gated []key
	for k := range s.bodies.under(event[0], event[1]) {
		bodies = append(bodies, k)
	}
	for k := range s.gated.under(event[0], event[1]) {
		gated = append(gated, k)
	}
	for _, k := range bodies {
		s.bodies.drop(tx, k)
	}
	for _, k := range gated {
		s.gated.drop(tx, k)
	}
	s.events.drop(tx, event)
}

// purgeLog deletes records of streams that are gone, and old ones that belong to none.
func (s *Store) purgeLog(tx *tx, before retention.Cutoffs, handled int64) (deleted int) {
	kept := make([]*record, 0, len(s.log))
	for _, r := range s.log {
		_, alive := s.streams.get(keyOf(r.tenant, r.stream))
		read := (r.topic == records.TopicEvents || r.topic == records.TopicTests) && r.position < handled || r.topic == records.TopicPoison // which nobody consumes
		old := read && r.at.Before(before.Events)
		switch {
		case r.version > 0 && alive || r.version == 0 && !old:
			kept = append(kept, r)
		case old:
			deleted++
		}
	}
	if whole := s.log; len(kept) < len(whole) {
		s.log = kept
		tx.undo = append(tx.undo, func() { s.log = whole })
	}
	return deleted
}
