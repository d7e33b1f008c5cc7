package memory

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func laneOf(d delivery.Delivery) dispatch.Lane {
	return dispatch.Lane{Tenant: d.Tenant, SubscriptionID: d.SubscriptionID}
}

func laneKey(lane dispatch.Lane) key { return keyOf(lane.Tenant, lane.SubscriptionID) }

// maxFallen bounds how many fall due in one look.
const maxFallen = 500

// Look makes ready what has fallen due, and says where something is ready; see dispatch.Queue.
func (s *Store) Look(ctx context.Context, request dispatch.LookRequest) (answer dispatch.LookAnswer, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		answer = dispatch.LookAnswer{}
		for _, q := range s.waiting() {
			if q.DueAt.After(request.Now) || len(answer.Fallen) == maxFallen {
				answer.NextDue = q.DueAt
				break
			}
			q.waits = false
			s.open.put(tx, keyOf(q.Tenant, q.ID), q)
			answer.Fallen = append(answer.Fallen, laneOf(q.Delivery))
		}
		if request.Lanes > 0 {
			answer.Ready = s.readyLanes(request.After, request.Lanes)
		}
		return nil
	})
	return answer, err
}

// waiting is what falls due later, the next first.
func (s *Store) waiting() (list []queued) {
	for _, q := range s.open.all() {
		if q.waits {
			list = append(list, q)
		}
	}
	slices.SortFunc(list, byDue)
	return list
}

func byDue(a, b queued) int { return cmp.Or(a.DueAt.Compare(b.DueAt), strings.Compare(a.ID, b.ID)) }

// ready reports whether it could be leased now.
func (q queued) ready() bool { return q.lease == "" && !q.DueAt.IsZero() && !q.waits }

func (s *Store) readyLanes(after string, limit int) (lanes []dispatch.Lane) {
	for _, q := range s.open.all() {
		if q.ready() && q.SubscriptionID > after {
			lanes = append(lanes, laneOf(q.Delivery))
		}
	}
	slices.SortFunc(lanes, func(a, b dispatch.Lane) int { return strings.Compare(a.SubscriptionID, b.SubscriptionID) })
	lanes = slices.Compact(lanes)
	return lanes[:min(len(lanes), limit)]
}

// LeaseReady leases by lanes; see dispatch.Queue.
func (s *Store) LeaseReady(ctx context.Context, request dispatch.LeaseRequest) (answer dispatch.LeaseAnswer, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		answer = dispatch.LeaseAnswer{Lanes: map[dispatch.Lane]dispatch.LaneRest{}}
		for _, asked := range request.Lanes {
			_, swept := s.sweeps.get(laneKey(asked.Lane))
			if sub := s.subscription(asked.Lane); !swept && sub.Status == subscription.StatusActive {
				if err := s.leaseLane(tx, asked, sub, request, &answer); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return answer, err
}

func (s *Store) subscription(lane dispatch.Lane) subscription.Subscription {
	row, _ := s.subscriptions.get(laneKey(lane))
	return row.Subscription
}

func (s *Store) leaseLane(tx *tx, asked dispatch.Asked, sub subscription.Subscription, request dispatch.LeaseRequest, answer *dispatch.LeaseAnswer) error {
	ready := s.readyIn(asked.Lane)
	taken := min(max(0, min(asked.Slots, sub.MaxInFlight-asked.Out)), len(ready))
	owner, _ := s.tenants.get(keyOf(asked.Tenant))
	answer.Lanes[asked.Lane] = dispatch.LaneRest{MaxInFlight: sub.MaxInFlight, Weight: owner.Weight, More: len(ready) > taken}
	for _, q := range ready[:taken] {
		body, unreadable := s.body(q.Delivery)
		q.lease, q.leasedAt = request.Lease, request.Now
		s.open.put(tx, keyOf(q.Tenant, q.ID), q)
		answer.Leased = append(answer.Leased, dispatch.Leased{
			Delivery: q.Delivery, Subscription: &sub, Body: slices.Clone(body),
			TraceParent: q.traceParent, AcceptedAt: q.acceptedAt, Lease: request.Lease, Unreadable: unreadable,
		})
	}
	return nil
}

// readyIn is what is ready in the lane, the oldest first.
func (s *Store) readyIn(lane dispatch.Lane) (list []queued) {
	for _, q := range s.open.under(string(lane.Tenant)) {
		if q.SubscriptionID == lane.SubscriptionID && q.ready() {
			list = append(list, q)
		}
	}
	slices.SortFunc(list, byDue)
	return list
}

// GiveBack ends leases of deliveries that were not attempted.
func (s *Store) GiveBack(ctx context.Context, lease string, leased []dispatch.Leased) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		for _, l := range leased {
			k := keyOf(l.Delivery.Tenant, l.Delivery.ID)
			if q, found := s.open.get(k); found && q.lease == lease && q.Version == l.Delivery.Version {
				q.lease, q.leasedAt = "", time.Time{}
				s.open.put(tx, k, q)
			}
		}
		tx.queue = true
		return nil
	})
}

// Heartbeat says that the incarnation lives.
func (s *Store) Heartbeat(ctx context.Context, incarnation string, now time.Time) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		s.incarnations.put(tx, keyOf("", incarnation), now)
		return nil
	})
}

// forgottenAfter is for how long the row of a dead process is kept; its leases are taken over long before.
const forgottenAfter = time.Hour

// BeginIncarnation registers this process beside the others that live.
func (s *Store) BeginIncarnation(ctx context.Context, incarnation string, now time.Time) error {
	return s.update(ctx, func(ctx context.Context, tx *tx) error {
		for _, k := range slices.Clone(s.incarnations.keys) {
			if beat, _ := s.incarnations.get(k); beat.Before(now.Add(-forgottenAfter)) {
				s.incarnations.drop(tx, k)
			}
		}
		s.forgetCircuits(tx)
		return s.Heartbeat(ctx, incarnation, now)
	})
}

// Orphans lists deliveries whose holder's heartbeat stopped.
func (s *Store) Orphans(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	done, err := s.read(ctx)
	defer done()
	orphans := []dispatch.Orphan{}
	for _, q := range s.open.all() {
		beat, known := s.incarnations.get(keyOf("", q.lease))
		if q.lease == "" || known && !beat.Before(from) && (to.IsZero() || !beat.After(to)) || len(orphans) == limit {
			continue
		}
		orphans = append(orphans, dispatch.Orphan{Delivery: q.Delivery, Schedule: s.subscription(laneOf(q.Delivery)).RetrySchedule, Lease: q.lease, LeasedAt: q.leasedAt})
	}
	return orphans, err
}
