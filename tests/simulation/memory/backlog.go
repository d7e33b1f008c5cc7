package memory

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// dayCount is how much a tenant sent on a day.
type dayCount struct {
	day    time.Time
	events int
}

// CountOpen counts open deliveries; see intake.BacklogStore.
func (s *Store) CountOpen(ctx context.Context, owner tenant.ID, upTo int) (n int, err error) {
	done, err := s.read(ctx)
	defer done()
	for k := range s.open.all() {
		if n < upTo && (owner == "" || k[0] == string(owner)) {
			n++
		}
	}
	return n, err
}

// OldestUnrouted is when the next record of fan-out was written.
func (s *Store) OldestUnrouted(ctx context.Context) (time.Time, error) {
	done, err := s.read(ctx)
	defer done()
	offset, _ := s.offsets.get(keyOf("", fanout.Group, records.TopicEvents))
	for _, r := range s.after(offset) {
		if r.topic == records.TopicEvents {
			return r.at, err
		}
	}
	return time.Time{}, err
}

// DeliveriesPerEvent is what events come to; see intake.BacklogStore.
func (s *Store) DeliveriesPerEvent(ctx context.Context, owners []tenant.ID) (map[tenant.ID]float64, error) {
	done, err := s.read(ctx)
	defer done()
	found := make(map[tenant.ID]float64, len(owners))
	for _, owner := range owners {
		n, counted := 0.0, false
		for _, h := range s.hours.under(string(owner)) { // the last wins
			if h.Events > 0 {
				n, counted = float64(h.Deliveries)/float64(h.Events), true
			}
		}
		for _, sub := range s.subscriptions.under(string(owner)) {
			if !counted && n < intake.MostAssumed && sub.Status != subscription.StatusDeleted {
				n++
			}
		}
		found[owner] = n
	}
	return found, err
}

// CountProcesses counts those that live; see intake.BacklogStore.
func (s *Store) CountProcesses(ctx context.Context, since time.Time) (n int, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, beat := range s.incarnations.all() {
		if !beat.Before(since) {
			n++
		}
	}
	return n, err
}

// CountDay adds to the day's counts; see intake.QuotaStore.
func (s *Store) CountDay(ctx context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	counted := make(map[tenant.ID]int, len(sent))
	err := s.update(ctx, func(_ context.Context, tx *tx) error {
		for owner, n := range sent {
			count, _ := s.days.get(keyOf(owner))
			if ahead := count.day.Sub(day); ahead < 0 || ahead > 24*time.Hour {
				count = dayCount{day: day}
			}
			count.events += n
			s.days.put(tx, keyOf(owner), count)
			counted[owner] = count.events
		}
		return nil
	})
	return counted, err
}
