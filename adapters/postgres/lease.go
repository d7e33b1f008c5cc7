package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// dueLanes walks the lanes by their index, from one subscription to the next, and so costs the same however long
// each lane is. Of each it brings what is due first. Lanes that are being swept or take nothing are left out.
const dueLanes = `
WITH RECURSIVE lane AS (
    (SELECT subscription_id, tenant_id, due_at FROM open_deliveries
     WHERE lease IS NULL AND due_at IS NOT NULL ORDER BY subscription_id, due_at, delivery_id LIMIT 1)
    UNION ALL
    SELECT next.* FROM lane CROSS JOIN LATERAL (
        SELECT o.subscription_id, o.tenant_id, o.due_at FROM open_deliveries o
        WHERE o.lease IS NULL AND o.due_at IS NOT NULL AND o.subscription_id > lane.subscription_id
        ORDER BY o.subscription_id, o.due_at, o.delivery_id LIMIT 1) next
)
SELECT lane.tenant_id, lane.subscription_id, lane.due_at, s.max_in_flight
FROM lane JOIN subscriptions s ON s.tenant_id = lane.tenant_id AND s.subscription_id = lane.subscription_id
WHERE s.status = '` + string(subscription.StatusActive) + `'
  AND NOT EXISTS (SELECT 1 FROM sweeps w WHERE w.tenant_id = lane.tenant_id AND w.subscription_id = lane.subscription_id)`

// takeDue leases the oldest of each lane, as many as it is allowed. What another process is leasing right now is skipped. A
// lane is searched by its subscription alone, which has one tenant: with both, the planner takes them for independent,
// expects a handful of rows, and sorts the half a million that there are.
var takeDue = `
WITH picked AS (
    SELECT o.tenant_id, o.delivery_id
    FROM unnest($1::text[], $2::text[], $3::int[]) AS l (tenant_id, subscription_id, allowed)
    CROSS JOIN LATERAL (
        SELECT tenant_id, delivery_id FROM open_deliveries d
        WHERE d.lease IS NULL AND d.due_at IS NOT NULL AND d.subscription_id = l.subscription_id AND d.due_at <= $4
        ORDER BY d.due_at, d.delivery_id LIMIT l.allowed FOR UPDATE SKIP LOCKED) o
    WHERE o.tenant_id = l.tenant_id
), taken AS (
    UPDATE open_deliveries o SET lease = $5, leased_at = $4 FROM picked p
    WHERE o.tenant_id = p.tenant_id AND o.delivery_id = p.delivery_id
    RETURNING o.*
)
SELECT ` + takenColumns + `, b.body FROM taken t
LEFT JOIN bodies b ON b.tenant_id = t.tenant_id AND b.event_id = t.event_id AND b.number = t.body_number`

var takenColumns = "t." + strings.ReplaceAll(strings.Join(strings.Fields(deliveryColumns+", "+queueColumns), " "), ", ", ", t.")

// restOfLanes is what is due first in each lane, of what nobody holds.
const restOfLanes = `SELECT l.tenant_id, l.subscription_id, o.due_at
FROM unnest($1::text[], $2::text[]) AS l (tenant_id, subscription_id)
CROSS JOIN LATERAL (
    SELECT d.due_at FROM open_deliveries d WHERE d.lease IS NULL AND d.due_at IS NOT NULL AND d.subscription_id = l.subscription_id
    ORDER BY d.due_at, d.delivery_id LIMIT 1) o`

// dueLane is a lane with what is due first in it.
type dueLane struct {
	dispatch.Lane
	firstDue    time.Time
	maxInFlight int
	taken       int // by this lease
	dry         bool
}

// leasing is one lease on its way.
type leasing struct {
	*Store
	request dispatch.LeaseRequest
	answer  dispatch.LeaseAnswer
	lanes   []*dueLane
	taken   []takenDelivery
}

type takenDelivery struct {
	queued
	body []byte
}

// LeaseDue leases by lanes; see dispatch.Store.
func (s *Store) LeaseDue(ctx context.Context, request dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	var l *leasing
	err := s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		l = &leasing{Store: s, request: request}
		return l.run(ctx, tx)
	})
	if err != nil {
		return dispatch.LeaseAnswer{}, fmt.Errorf("lease what is due: %w", err)
	}
	return l.answer, nil
}

func (l *leasing) run(ctx context.Context, tx *Tx) error {
	if err := l.findLanes(ctx, tx); err != nil {
		return fmt.Errorf("look for due lanes: %w", err)
	}
	if len(l.lanes) == 0 {
		return nil
	}
	for range maxRounds {
		more, err := l.round(ctx, tx)
		if err != nil {
			return fmt.Errorf("take from %d lanes: %w", len(l.lanes), err)
		}
		if !more {
			break
		}
	}
	tx.whenLate(func(ctx context.Context) { _ = l.GiveBack(ctx, l.request.Lease, l.answer.Leased) })
	return l.finish(ctx, tx)
}

// findLanes are those with something due now, beginning behind the one that was last; the next due time of
// the others goes into the answer.
func (l *leasing) findLanes(ctx context.Context, tx *Tx) error {
	found, err := all(ctx, tx, func(r pgx.Rows) (*dueLane, error) {
		var d dueLane
		var due int64
		err := r.Scan(&d.Tenant, &d.SubscriptionID, &due, &d.maxInFlight)
		d.firstDue = moment(&due)
		return &d, err
	}, dueLanes)
	if err != nil {
		return err
	}
	for _, d := range found {
		if d.firstDue.After(l.request.Now) {
			l.note(d.Lane, d.firstDue)
			continue
		}
		l.lanes = append(l.lanes, d)
	}
	slices.SortFunc(l.lanes, func(a, b *dueLane) int { return strings.Compare(a.SubscriptionID, b.SubscriptionID) })
	first, _ := slices.BinarySearchFunc(l.lanes, l.request.After, func(d *dueLane, after dispatch.Lane) int {
		return strings.Compare(d.SubscriptionID, after.SubscriptionID+"\x00")
	})
	l.lanes = append(l.lanes[first:len(l.lanes):len(l.lanes)], l.lanes[:first]...)
	return nil
}

// maxRounds bounds how often what some lanes left of their share is offered to the others.
const maxRounds = 4

// round shares out what is left of the limit over the lanes that may have more.
func (l *leasing) round(ctx context.Context, tx *Tx) (more bool, err error) {
	left := l.request.Limit - len(l.taken)
	var asked []*dueLane
	for _, d := range l.lanes {
		if !d.dry && l.room(d) > 0 {
			asked = append(asked, d)
		}
	}
	if left <= 0 || len(asked) == 0 {
		return false, nil
	}
	asked = asked[:min(left, len(asked))]
	allowed := make([]int32, len(asked))
	lanes := make([]dispatch.Lane, len(asked))
	for i, d := range asked {
		share := min(l.room(d), max(1, left/(len(asked)-i)))
		allowed[i], lanes[i] = int32(share), d.Lane
		left -= share
	}
	if err := l.take(ctx, tx, lanes, allowed); err != nil {
		return false, err
	}
	counts := map[dispatch.Lane]int{}
	for _, t := range l.taken {
		counts[dispatch.Lane{Tenant: t.Tenant, SubscriptionID: t.SubscriptionID}]++
	}
	for i, d := range asked {
		got := counts[d.Lane] - d.taken
		d.taken, d.dry = counts[d.Lane], got < int(allowed[i])
	}
	return true, nil
}

// room is what the lane may have out besides what it has.
func (l *leasing) room(d *dueLane) int { return l.request.Room(d.Lane, d.maxInFlight) - d.taken }

func (l *leasing) take(ctx context.Context, tx *Tx, lanes []dispatch.Lane, allowed []int32) error {
	tenants, ids := laneArrays(lanes)
	b := &pgx.Batch{}
	b.Queue(takeDue, tenants, ids, allowed, stamp(l.request.Now), l.request.Lease).Query(func(rows pgx.Rows) error {
		for rows.Next() {
			var t takenDelivery
			var err error
			if t.queued, err = scanQueuedWith(rows, &t.body); err != nil {
				return err
			}
			if t.body == nil {
				return fmt.Errorf("delivery %s has no body", t.ID)
			}
			if t.body, err = unpackBody(t.body, t.Tenant, t.EventID); err != nil {
				return err
			}
			l.taken = append(l.taken, t)
		}
		return rows.Err()
	})
	return tx.write(ctx, b)
}

// finish adds the subscriptions to what was taken, in the order of lanes and oldest first in each, and notes
// what the lanes still have: a dispatcher that is not told would sleep over it.
func (l *leasing) finish(ctx context.Context, tx *Tx) error {
	states := map[dispatch.Lane]subscription.Subscription{}
	place := map[dispatch.Lane]int{}
	var taken, all []dispatch.Lane
	for i, d := range l.lanes {
		place[d.Lane] = i
		all = append(all, d.Lane)
		if d.taken > 0 {
			taken = append(taken, d.Lane)
		}
	}
	b := &pgx.Batch{}
	tenants, ids := laneArrays(taken)
	b.Queue(selectStates, tenants, ids).Query(func(rows pgx.Rows) error { return eachRow(rows, func() error { return scanState(rows, states) }) })
	tenants, ids = laneArrays(all)
	b.Queue(restOfLanes, tenants, ids).Query(func(rows pgx.Rows) error { return eachRow(rows, func() error { return l.scanRest(rows) }) })
	if err := tx.send(ctx, b); err != nil {
		return fmt.Errorf("look for what the lanes still have: %w", err)
	}
	slices.SortFunc(l.taken, func(a, b takenDelivery) int {
		if in := place[laneOf(a)] - place[laneOf(b)]; in != 0 {
			return in
		}
		if older := a.DueAt.Compare(b.DueAt); older != 0 {
			return older
		}
		return strings.Compare(a.ID, b.ID)
	})
	for _, t := range l.taken {
		l.answer.Leased = append(l.answer.Leased, dispatch.Leased{
			Delivery: t.Delivery, Subscription: states[laneOf(t)], Body: t.body, TraceParent: t.TraceParent, AcceptedAt: t.AcceptedAt, Lease: l.request.Lease,
		})
	}
	return nil
}

func laneOf(t takenDelivery) dispatch.Lane {
	return dispatch.Lane{Tenant: t.Tenant, SubscriptionID: t.SubscriptionID}
}

func eachRow(rows pgx.Rows, scan func() error) error {
	for rows.Next() {
		if err := scan(); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (l *leasing) scanRest(rows pgx.Rows) error {
	var lane dispatch.Lane
	var due int64
	if err := rows.Scan(&lane.Tenant, &lane.SubscriptionID, &due); err != nil {
		return err
	}
	l.note(lane, moment(&due))
	return nil
}

func (l *leasing) note(lane dispatch.Lane, due time.Time) {
	switch {
	case !due.After(l.request.Now):
		l.answer.LeftBehind(lane)
	case l.answer.NextDue.IsZero() || due.Before(l.answer.NextDue):
		l.answer.NextDue = due
	}
}

const giveBack = `UPDATE open_deliveries o SET lease = NULL, leased_at = NULL FROM unnest($1::text[], $2::text[]) AS g (tenant_id, delivery_id)
WHERE o.tenant_id = g.tenant_id AND o.delivery_id = g.delivery_id AND o.lease = $3`

// GiveBack ends leases of deliveries that were not attempted.
func (s *Store) GiveBack(ctx context.Context, lease string, leased []dispatch.Leased) error {
	if len(leased) == 0 {
		return nil
	}
	tenants, ids := make([]string, len(leased)), make([]string, len(leased))
	for i, l := range leased {
		tenants[i], ids[i] = string(l.Delivery.Tenant), l.Delivery.ID
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, giveBack, tenants, ids, lease); err != nil {
			return fmt.Errorf("give %d leases back: %w", len(leased), err)
		}
		tx.QueueChanged()
		return nil
	})
}
