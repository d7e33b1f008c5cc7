package postgres

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// leasable leaves out lanes that are being swept or whose subscription is not active.
const leasable = `s.status = '` + string(subscription.StatusActive) + `'
  AND NOT EXISTS (SELECT 1 FROM sweeps w WHERE w.tenant_id = l.tenant_id AND w.subscription_id = l.subscription_id)`

// takeReady leases the oldest of each lane from its head on, as many as it may. What another process is leasing right now is skipped. A
// lane is searched by its subscription alone, which has one tenant: given both, the planner takes them for independent, expects a
// handful of rows, and sorts the half a million that there are.
var takeReady = `
WITH lanes AS MATERIALIZED (
    SELECT l.tenant_id, l.subscription_id, l.head, greatest(0, least(l.slots, s.max_in_flight - l.out)) AS allowed
    FROM unnest($1::text[], $2::text[], $3::int[], $4::int[], $5::bigint[]) AS l (tenant_id, subscription_id, slots, out, head)
    JOIN subscriptions s ON s.tenant_id = l.tenant_id AND s.subscription_id = l.subscription_id
    WHERE ` + leasable + `
), picked AS (
    SELECT o.tenant_id, l.subscription_id, o.delivery_id FROM lanes l CROSS JOIN LATERAL (
        SELECT tenant_id, delivery_id FROM open_deliveries d
        WHERE ` + isReady + ` AND d.subscription_id = l.subscription_id AND d.due_at >= l.head
        ORDER BY d.due_at, d.delivery_id LIMIT l.allowed FOR UPDATE SKIP LOCKED) o
    WHERE o.tenant_id = l.tenant_id
), taken AS (
    UPDATE open_deliveries o SET lease = $6, leased_at = $7 FROM picked s
    WHERE ` + sameDelivery + `
    RETURNING o.*
)
SELECT ` + takenColumns + `, b.body FROM taken t
LEFT JOIN bodies b ON b.week IN (` + weekAccepted + `, 0) AND b.tenant_id = t.tenant_id AND b.event_id = t.event_id AND b.number = t.body_number`

var takenColumns = "t." + strings.ReplaceAll(strings.Join(strings.Fields(deliveryColumns+", "+queueColumns), " "), ", ", ", t.")

// restOfLanes gives the lanes' subscriptions, and the due time of the first delivery that is still ready in each.
const restOfLanes = `SELECT l.tenant_id, l.subscription_id, s.max_in_flight, t.weight, s.state, ` + leasable + `,
    (SELECT d.due_at FROM open_deliveries d WHERE ` + isReady + ` AND d.subscription_id = l.subscription_id AND d.due_at >= l.head
     ORDER BY d.due_at, d.delivery_id LIMIT 1)
FROM unnest($1::text[], $2::text[], $3::bigint[]) AS l (tenant_id, subscription_id, head)
JOIN subscriptions s ON s.tenant_id = l.tenant_id AND s.subscription_id = l.subscription_id
JOIN tenants t ON t.tenant_id = l.tenant_id`

// leasing is one lease request in progress.
type leasing struct {
	request dispatch.LeaseRequest
	answer  dispatch.LeaseAnswer
	taken   []takenDelivery
	states  map[dispatch.Lane][]byte
	left    map[dispatch.Lane]*int64 // due time of the first that is left
	started []bool                   // whether each lane of the request is searched from its beginning
	took    time.Duration
}

type takenDelivery struct {
	queued
	body       []byte
	unreadable error
}

// LeaseReady leases by lanes; see dispatch.Queue.
func (s *Store) LeaseReady(ctx context.Context, request dispatch.LeaseRequest) (dispatch.LeaseAnswer, error) {
	var l *leasing
	err := s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		l = &leasing{request: request, states: map[dispatch.Lane][]byte{}, left: map[dispatch.Lane]*int64{}}
		l.answer.Lanes = map[dispatch.Lane]dispatch.LaneRest{}
		tx.whenLate(func(ctx context.Context) { s.giveBackLate(ctx, request.Lease, l.answer.Leased) })
		began := time.Now()
		b := l.batch(&s.heads, began)
		tx.WhenEnded(func(committed bool) { l.moveHeads(&s.heads, committed, began) })
		if err := tx.write(ctx, b); err != nil {
			return fmt.Errorf("take from %d lanes: %w", len(request.Lanes), err)
		}
		l.took = time.Since(began)
		tx.WhenEnded(func(bool) { s.db.died(len(l.taken)) })
		return l.finish(ctx, s)
	})
	if err != nil {
		return dispatch.LeaseAnswer{}, fmt.Errorf("lease what is ready: %w", err)
	}
	return l.answer, nil
}

// batch takes deliveries, and then looks at what is left.
func (l *leasing) batch(h *laneHeads, now time.Time) *pgx.Batch {
	n := len(l.request.Lanes)
	tenants, ids, slots, out, from := make([]string, n), make([]string, n), make([]int32, n), make([]int32, n), make([]int64, n)
	l.started = make([]bool, n)
	for i, asked := range l.request.Lanes {
		from[i], l.started[i] = h.from(asked.Lane, now)
		tenants[i], ids[i], slots[i], out[i] = string(asked.Tenant), asked.SubscriptionID, int32(asked.Slots), int32(asked.Out)
	}
	b := &pgx.Batch{}
	b.Queue(takeReady, tenants, ids, slots, out, from, l.request.Lease, stamp(l.request.Now)).Query(l.takenRows())
	b.Queue(restOfLanes, tenants, ids, from).Query(rowByRow(l.scanRest))
	return b
}

func (l *leasing) takenRows() func(pgx.Rows) error {
	var body pgtype.DriverBytes
	row := queuedRows(&body)
	return rowByRow(func(rows pgx.Rows) (err error) {
		var t takenDelivery
		if t.queued, err = row.scan(rows); err != nil {
			return err
		}
		if body == nil {
			t.unreadable = records.NoBody(t.Delivery)
		} else {
			t.body, t.unreadable = records.UnpackBody(body, t.Tenant, t.EventID)
		}
		t.unreadable = cmp.Or(dispatch.CheckStatus(t.Delivery), t.unreadable)
		l.taken = append(l.taken, t)
		return nil
	})
}

func (l *leasing) scanRest(rows pgx.Rows) error {
	var lane dispatch.Lane
	var rest dispatch.LaneRest
	var state []byte
	var leasable bool
	var due *int64
	if err := rows.Scan(&lane.Tenant, &lane.SubscriptionID, &rest.MaxInFlight, &rest.Weight, &state, &leasable, &due); err != nil {
		return err
	}
	rest.More, l.left[lane] = due != nil, due
	if l.states[lane] = state; leasable {
		l.answer.Lanes[lane] = rest
	}
	return nil
}

// moveHeads keeps what was learned of the lanes, unless the transaction was undone.
func (l *leasing) moveHeads(h *laneHeads, committed bool, now time.Time) {
	emptied, taken := map[dispatch.Lane]int64{}, map[dispatch.Lane]int{}
	for _, t := range l.taken {
		lane := dispatch.LaneOf(t.Delivery)
		emptied[lane] = max(emptied[lane], t.DueAt.Add(-disorder).UnixMicro())
		taken[lane]++
	}
	for i, asked := range l.request.Lanes {
		if !committed {
			h.forget(asked.Lane)
			continue
		}
		var took time.Duration
		if l.started[i] {
			took = l.took
		}
		if due := l.left[asked.Lane]; due != nil {
			h.left(asked.Lane, *due, now, took, taken[asked.Lane])
		} else if due, any := emptied[asked.Lane]; any {
			h.left(asked.Lane, due, now, took, taken[asked.Lane])
		} else if l.started[i] {
			h.searched(asked.Lane, now, took)
		}
	}
}

// finish adds the subscriptions to what was taken, in the order of the request and oldest first in each lane.
func (l *leasing) finish(ctx context.Context, s *Store) error {
	place := map[dispatch.Lane]int{}
	for i, asked := range l.request.Lanes {
		place[asked.Lane] = i
	}
	slices.SortFunc(l.taken, func(a, b takenDelivery) int {
		if in := place[dispatch.LaneOf(a.Delivery)] - place[dispatch.LaneOf(b.Delivery)]; in != 0 {
			return in
		}
		if older := a.DueAt.Compare(b.DueAt); older != 0 {
			return older
		}
		return strings.Compare(a.ID, b.ID)
	})
	l.answer.Leased = slices.Grow(l.answer.Leased, len(l.taken))
	subscriptions := map[dispatch.Lane]*readState{}
	for _, t := range l.taken {
		lane := dispatch.LaneOf(t.Delivery)
		sub := subscriptions[lane]
		if sub == nil {
			read, err := s.readState(ctx, lane, l.states[lane])
			if err != nil {
				return err
			}
			sub = &read
			subscriptions[lane] = sub
		}
		l.answer.Leased = append(l.answer.Leased, dispatch.Leased{
			Delivery: t.Delivery, Subscription: &sub.Subscription, Body: t.body, TraceParent: t.TraceParent, AcceptedAt: t.AcceptedAt, Lease: l.request.Lease,
			Unreadable: cmp.Or(sub.unreadable, t.unreadable),
		})
	}
	return nil
}

// rowByRow makes of what scans a row what scans the rows of a query.
func rowByRow(scan func(pgx.Rows) error) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		for rows.Next() {
			if err := scan(rows); err != nil {
				return err
			}
		}
		return rows.Err()
	}
}

const giveBack = `UPDATE open_deliveries o SET lease = NULL, leased_at = NULL
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS s (tenant_id, subscription_id, delivery_id, version)
WHERE ` + sameDelivery + ` AND o.version = s.version AND o.lease = $5`

// giveBackLate gives back what was leased without its holder learning of it, trying until it succeeds: a live process keeps what it
// has leased, so nobody else would.
func (s *Store) giveBackLate(ctx context.Context, lease string, leased []dispatch.Leased) {
	for s.GiveBack(ctx, lease, leased) != nil && pause(ctx, resolveEvery) {
	}
}

// GiveBack ends leases of deliveries that were not attempted; see dispatch.Store.
func (s *Store) GiveBack(ctx context.Context, lease string, leased []dispatch.Leased) error {
	if len(leased) == 0 {
		return nil
	}
	s.heads.givenBack(leased) // not at the commit: a lease of the same turn searches from there
	tenants, subscriptions, ids, versions := make([]string, len(leased)), make([]string, len(leased)), make([]string, len(leased)), make([]int64, len(leased))
	for i, l := range leased {
		tenants[i], subscriptions[i], ids[i], versions[i] = string(l.Delivery.Tenant), l.Delivery.SubscriptionID, l.Delivery.ID, l.Delivery.Version
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, giveBack, tenants, subscriptions, ids, versions, lease); err != nil {
			return fmt.Errorf("give %d leases back: %w", len(leased), err)
		}
		tx.QueueChanged()
		return nil
	})
}
