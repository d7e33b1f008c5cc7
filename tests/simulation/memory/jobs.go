package memory

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/tenant"
)

type storedJob struct {
	job.Job
	turn time.Time // zero when it is not open
}

// CreateJob takes a job, unless the tenant has too many open ones; see jobs.Store.
func (s *Store) CreateJob(ctx context.Context, j job.Job, maxOpen int) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		open := 0
		for _, row := range s.jobs.under(string(j.Tenant)) {
			if row.Open() {
				open++
			}
		}
		if open >= maxOpen {
			return jobs.ErrTooMany(open)
		}
		tx.queue = true
		s.jobs.put(tx, keyOf(j.Tenant, j.ID), storedJob{j, j.CreatedAt})
		return nil
	})
}

// Job finds one job.
func (s *Store) Job(ctx context.Context, owner tenant.ID, id string) (job.Job, error) {
	done, err := s.read(ctx)
	defer done()
	row, found := s.jobs.get(keyOf(owner, id))
	return row.Job, orNotFound(err, found, "job")
}

// Jobs lists newest first.
func (s *Store) Jobs(ctx context.Context, owner tenant.ID, before string, limit int) (list []job.Job, err error) {
	done, err := s.read(ctx)
	defer done()
	for k, row := range s.jobs.under(string(owner)) {
		if before == "" || k[1] < before {
			list = append(list, row.Job)
		}
	}
	slices.Reverse(list)
	return list[:min(len(list), limit)], err
}

// NextJob is the open job that has waited longest for its turn; see jobs.Store.
func (s *Store) NextJob(ctx context.Context, now time.Time) (j job.Job, found bool, turn time.Time, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, row := range s.jobs.all() {
		if row.Open() && (turn.IsZero() || row.turn.Before(turn)) {
			j, turn = row.Job, row.turn
		}
	}
	if err != nil || turn.IsZero() || turn.After(now) {
		return job.Job{}, false, turn, err
	}
	return j, true, time.Time{}, nil
}

// SaveJob writes the job; see jobs.Store.
func (s *Store) SaveJob(ctx context.Context, j job.Job, turn time.Time) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		_, found := s.jobs.get(keyOf(j.Tenant, j.ID))
		if err := orNotFound(nil, found, "job"); err != nil {
			return err
		}
		s.jobs.put(tx, keyOf(j.Tenant, j.ID), storedJob{j, turn})
		return nil
	})
}

// WalkDeliveries lists oldest first; see jobs.DeliveryStore.
func (s *Store) WalkDeliveries(ctx context.Context, w jobs.Walk) (list []delivery.Delivery, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, from := range []*table[queued]{s.open, s.closed} {
		for _, q := range from.under(string(w.Tenant)) {
			if w.After < q.ID && q.ID <= w.UpTo && w.Filter.Matches(q.shown()) {
				list = append(list, q.shown())
			}
		}
	}
	slices.SortFunc(list, func(a, b delivery.Delivery) int { return strings.Compare(a.ID, b.ID) })
	return list[:min(len(list), w.Limit)], err
}

// NewestDeliveries names each event's newest delivery in the lane; see jobs.DeliveryStore.
func (s *Store) NewestDeliveries(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error) {
	done, err := s.read(ctx)
	defer done()
	newest := map[string]string{}
	for _, from := range []*table[queued]{s.open, s.closed} {
		for _, q := range from.under(string(lane.Tenant)) {
			if q.SubscriptionID == lane.SubscriptionID && slices.Contains(eventIDs, q.EventID) && q.ID <= upTo && (until.IsZero() || q.CreatedAt.Before(until)) {
				newest[q.EventID] = max(newest[q.EventID], q.ID)
			}
		}
	}
	return newest, err
}

// WalkEvents lists oldest first; see jobs.EventStore.
func (s *Store) WalkEvents(ctx context.Context, w jobs.EventWalk) (list []queries.Event, err error) {
	events, err := s.EventsAfter(ctx, w.Tenant, w.After, math.MaxInt)
	for _, e := range events {
		if e.Sequence <= w.UpTo && (w.Since.IsZero() || !e.AcceptedAt.Before(w.Since) && (w.Until.IsZero() || e.AcceptedAt.Before(w.Until))) {
			list = append(list, e)
		}
	}
	return list[:min(len(list), w.Limit)], err
}

// EventBodies loads all bodies of the events; see jobs.RenderStore.
func (s *Store) EventBodies(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error) {
	done, err := s.read(ctx)
	defer done()
	bodies := map[string][]fanout.Body{}
	for _, id := range eventIDs {
		if _, known := bodies[id]; known {
			continue
		}
		for n := int64(1); ; n++ {
			bytes, found := s.bodies.get(keyOf(owner, id, number(n)))
			if !found {
				break
			}
			bodies[id] = append(bodies[id], fanout.Body{Tenant: owner, EventID: id, Number: int(n), Bytes: slices.Clone(bytes)})
		}
	}
	return bodies, err
}
