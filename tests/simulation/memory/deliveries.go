package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const deliveryStream = "delivery/"

// Schedule stores a plan; see fanout.Store.
func (s *Store) Schedule(ctx context.Context, plan fanout.Plan, ended func(committed bool)) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		for _, b := range plan.Bodies {
			k := keyOf(b.Tenant, b.EventID, number(int64(b.Number)))
			if _, taken := s.bodies.get(k); taken {
				return fmt.Errorf("%w: body %d of %s is there already", fanout.ErrRefused, b.Number, b.EventID)
			}
			s.bodies.put(tx, k, slices.Clone(b.Bytes))
		}
		for _, d := range plan.Scheduled {
			if err := s.schedule(tx, d); err != nil {
				return fmt.Errorf("schedule %s: %w", d.Delivery.ID, err)
			}
		}
		for _, g := range plan.Gated {
			k := keyOf(g.Tenant, g.EventID, g.SubscriptionID)
			if _, taken := s.gated.get(k); taken {
				return fmt.Errorf("%w: a gated disposition of %s is there already", fanout.ErrRefused, g.EventID)
			}
			s.gated.put(tx, k, g)
		}
		for _, p := range plan.SetAside {
			k := keyOf(p.Tenant, p.EventID)
			if e, found := s.events.get(k); found {
				e.setAside = &p
				s.events.put(tx, k, e)
			}
			if _, err := s.append(tx, record{topic: records.TopicPoison, tenant: p.Tenant, at: p.At, setAside: p}); err != nil {
				return err
			}
		}
		for _, w := range plan.Sweeps {
			s.noteSweep(tx, w)
		}
		for _, t := range plan.Tallies {
			s.addTally(tx, t)
		}
		tx.ended = append(tx.ended, ended)
		return s.moveDeferred(tx, plan.Taken, plan.Deferred)
	})
}

func (s *Store) schedule(tx *tx, d fanout.Scheduled) error {
	q := queued{Delivery: d.Delivery, acceptedAt: d.CountedAt(), traceParent: d.TraceParent, lease: d.Lease, waits: waits(d.Delivery)}
	if d.Lease != "" {
		q.leasedAt = d.Delivery.CreatedAt
	} else if d.Delivery.Status.IsClaimable() {
		tx.queue = true
	}
	s.open.put(tx, keyOf(d.Delivery.Tenant, d.Delivery.ID), q)
	return s.appendDelivery(tx, d.Delivery, 0, d.Changes)
}

// waits tells what is due later from what is due by the clock of the one who says so.
func waits(d delivery.Delivery) bool { return d.DueAt.After(d.UpdatedAt) }

func (s *Store) appendDelivery(tx *tx, d delivery.Delivery, version int64, changes []delivery.Change) error {
	for i, c := range changes {
		r := record{topic: records.TopicDeliveries, tenant: d.Tenant, stream: deliveryStream + d.ID, version: version + int64(i) + 1, at: d.UpdatedAt, delivery: c}
		if _, err := s.append(tx, r); err != nil {
			return err
		}
	}
	return nil
}

// Body is the bytes that every attempt of the delivery sends.
func (s *Store) Body(ctx context.Context, d delivery.Delivery) ([]byte, error) {
	done, err := s.read(ctx)
	defer done()
	body, unreadable := s.body(d)
	return slices.Clone(body), cmp.Or(err, unreadable)
}

// DropBody takes the delivery's body away, as somebody with access to the tables could.
func (s *Store) DropBody(ctx context.Context, d delivery.Delivery) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		s.bodies.drop(tx, keyOf(d.Tenant, d.EventID, number(int64(d.BodyNumber))))
		return nil
	})
}

// DropEvent takes the event away, with its bodies.
func (s *Store) DropEvent(ctx context.Context, owner tenant.ID, id string) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		s.dropEvent(tx, keyOf(owner, id))
		return nil
	})
}

// DropSubscription takes the row of the delivery's subscription away, as somebody with access to the tables could.
func (s *Store) DropSubscription(ctx context.Context, d delivery.Delivery) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		s.subscriptions.drop(tx, laneKey(laneOf(d)))
		return nil
	})
}

func (s *Store) body(d delivery.Delivery) ([]byte, error) {
	body, found := s.bodies.get(keyOf(d.Tenant, d.EventID, number(int64(d.BodyNumber))))
	if !found {
		return nil, fmt.Errorf("%w: event %s has no body %d", dispatch.ErrUnreadable, d.EventID, d.BodyNumber)
	}
	return body, nil
}

// Save writes changes and the state they lead to; see dispatch.Store.
func (s *Store) Save(ctx context.Context, saved []dispatch.Saved) (stale []int, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		stale = nil
		for place, d := range saved {
			q, from := s.fenced(d)
			if from == nil {
				stale = append(stale, place)
				continue
			}
			k, to := keyOf(d.Before.Tenant, d.Before.ID), s.open
			if d.After.Status.IsTerminal() {
				to = s.closed
			}
			if from != to {
				from.drop(tx, k)
			}
			to.put(tx, k, queued{Delivery: d.After, acceptedAt: q.acceptedAt, traceParent: q.traceParent, waits: waits(d.After)})
			tx.queue = tx.queue || d.After.Status.IsClaimable()
			if err := s.appendDelivery(tx, d.After, d.Before.Version, d.Changes); err != nil {
				return fmt.Errorf("save delivery %s: %w", d.Before.ID, err)
			}
		}
		return nil
	})
	return stale, err
}

// fenced finds the row if lease and version are those that the changes were decided on; nil for a stale one.
func (s *Store) fenced(d dispatch.Saved) (queued, *table[queued]) {
	from := s.open
	if d.Before.Status.IsTerminal() {
		from = s.closed
	}
	q, found := from.get(keyOf(d.Before.Tenant, d.Before.ID))
	if !found || q.Version != d.Before.Version || from == s.open && q.lease != d.Lease {
		return q, nil
	}
	return q, from
}

// shown is the delivery as it is to be read: one that is held is delivering.
func (q queued) shown() delivery.Delivery {
	d := q.Delivery
	if q.lease != "" {
		d.Status = delivery.StatusDelivering
	}
	return d
}

// Deliveries lists newest first, open and closed ones in one order.
func (s *Store) Deliveries(ctx context.Context, f queries.DeliveryFilter) (list []delivery.Delivery, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, from := range []*table[queued]{s.open, s.closed} {
		for _, q := range from.under(string(f.Tenant)) {
			if d := q.shown(); picks(f, d) {
				list = append(list, d)
			}
		}
	}
	slices.SortFunc(list, func(a, b delivery.Delivery) int { return strings.Compare(b.ID, a.ID) })
	list = list[:min(len(list), f.Limit)]
	return list, err
}

func picks(f queries.DeliveryFilter, d delivery.Delivery) bool {
	return (f.Status == "" || d.Status == f.Status) && (f.SubscriptionID == "" || d.SubscriptionID == f.SubscriptionID) &&
		(f.EventID == "" || d.EventID == f.EventID) && (f.EventType == "" || d.EventType == f.EventType) &&
		(f.Since.IsZero() || !d.CreatedAt.Before(f.Since)) && (f.Until.IsZero() || d.CreatedAt.Before(f.Until)) &&
		(f.Before == "" || d.ID < f.Before)
}

// DeliveriesOf lists deliveries of each of the events, oldest first, at most so many of one.
func (s *Store) DeliveriesOf(ctx context.Context, owner tenant.ID, eventIDs []string, each int) (map[string][]delivery.Delivery, error) {
	of := map[string][]delivery.Delivery{}
	for _, id := range eventIDs {
		list, err := s.Deliveries(ctx, queries.DeliveryFilter{Tenant: owner, EventID: id, Limit: int(^uint(0) >> 1)})
		if err != nil {
			return nil, err
		}
		slices.Reverse(list)
		of[id] = list[:min(len(list), each)]
	}
	return of, nil
}

// Delivery finds one delivery, open or closed.
func (s *Store) Delivery(ctx context.Context, owner tenant.ID, id string) (delivery.Delivery, error) {
	done, err := s.read(ctx)
	defer done()
	q, found := s.open.get(keyOf(owner, id))
	if !found {
		q, found = s.closed.get(keyOf(owner, id))
	}
	return q.shown(), orNotFound(err, found, "delivery")
}

// DeliveryChanges reads the delivery's stream.
func (s *Store) DeliveryChanges(ctx context.Context, owner tenant.ID, id string) ([]delivery.Change, error) {
	done, err := s.read(ctx)
	defer done()
	stream, _ := s.streams.get(keyOf(owner, deliveryStream+id))
	changes := make([]delivery.Change, len(stream))
	for i, r := range stream {
		changes[i] = r.delivery
	}
	return changes, err
}

// LastAttempts are the newest attempts of deliveries; see queries.DeliveryReader.
func (s *Store) LastAttempts(ctx context.Context, owner tenant.ID, upTo map[string]int64) (map[string]delivery.Change, error) {
	ends := map[string]delivery.Change{}
	for id, version := range upTo {
		changes, err := s.DeliveryChanges(ctx, owner, id)
		if err != nil {
			return nil, err
		}
		for _, c := range changes[:min(int64(len(changes)), version)] {
			if _, is := delivery.EndOf(c); is {
				ends[id] = c
			}
		}
	}
	return ends, nil
}

// CountDeliveries counts the lane's deliveries, each status by itself; see queries.CountReader.
func (s *Store) CountDeliveries(ctx context.Context, lane dispatch.Lane, upTo int) (queries.Counts, error) {
	list, err := s.Deliveries(ctx, queries.DeliveryFilter{Tenant: lane.Tenant, SubscriptionID: lane.SubscriptionID, Limit: int(^uint(0) >> 1)})
	counts := queries.Counts{}
	for _, d := range list {
		if !d.Status.IsTerminal() || d.Status == delivery.StatusDeadLetter {
			counts.Add(d.Status, 1, false, upTo)
		}
	}
	return counts, err
}

// QueueDepth counts the open deliveries by status, and says when the oldest that is due fell due.
func (s *Store) QueueDepth(ctx context.Context, now time.Time) (depth map[delivery.Status]int, oldestDue time.Time, err error) {
	done, err := s.read(ctx)
	defer done()
	depth = map[delivery.Status]int{}
	for _, q := range s.open.all() {
		depth[q.shown().Status]++
		if !q.DueAt.IsZero() && !q.DueAt.After(now) && (oldestDue.IsZero() || q.DueAt.Before(oldestDue)) {
			oldestDue = q.DueAt
		}
	}
	return depth, oldestDue, err
}
