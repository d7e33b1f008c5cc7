package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	insertBodies = `INSERT INTO bodies (tenant_id, event_id, number, body, week)
SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bytea[], $5::smallint[])`

	insertGated = `INSERT INTO gated_events (tenant_id, event_id, subscription_id, feature, subscription_version, accepted_at, week)
SELECT *, ` + weekAccepted + ` FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])
  AS g (tenant_id, event_id, subscription_id, feature, subscription_version, accepted_at)`

	// insertSweeps leaves a sweep that is there as it is, but waits for who is about to end it: DO NOTHING does not wait for a row that is
	// only locked, so the sweep would end without having seen what this transaction schedules.
	insertSweeps = `INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at)
SELECT tenant_id, subscription_id, action, 0 FROM unnest($1::text[], $2::text[], $3::text[]) AS w (tenant_id, subscription_id, action)
ORDER BY tenant_id, subscription_id ON CONFLICT (tenant_id, subscription_id) DO UPDATE SET turn_at = sweeps.turn_at`

	insertOpen = `INSERT INTO open_deliveries (` + movingColumns + `, due_at, lease, leased_at, waiting)
SELECT ` + movingColumns + `, nullif(due_at, 0), nullif(lease, ''), nullif(leased_at, 0), due_at > updated_at
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::int[], $8::text[], $9::text[], $10::bigint[],
    $11::int[], $12::int[], $13::int[], $14::bigint[], $15::bigint[], $16::bigint[], $17::text[], $18::bigint[], $19::text[], $20::bigint[])
    AS r (` + movingColumns + `, due_at, lease, leased_at)`
)

// Schedule stores a plan: bodies, open deliveries with their changes, gated dispositions.
func (s *Store) Schedule(ctx context.Context, plan fanout.Plan, ended func(committed bool)) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		b := &pgx.Batch{}
		queueBodies(b, plan)
		if err := queueOpen(b, plan.Scheduled); err != nil {
			return err
		}
		queueGated(b, plan.Gated)
		queueKeepLate(b, plan.Scheduled)
		queueTallies(b, plan.Tallies)
		tx.queueSweeps(b, plan.Sweeps)
		if err := queueDeferred(b, plan.Taken, plan.Deferred); err != nil {
			return err
		}
		write := tx.writeLater
		if len(plan.Scheduled) > fanout.DefaultAtOnce { // one event with many subscriptions: the commit must not take that long
			write = tx.write
		}
		if err := write(ctx, b); err != nil {
			return fmt.Errorf("store the plan: %w", err)
		}
		for _, d := range plan.Scheduled {
			if d.Lease == "" && d.Delivery.Status.IsClaimable() {
				tx.QueueChanged()
			}
			if err := tx.appendDelivery(ctx, d.Delivery, 0, d.Changes, d.TraceParent); err != nil {
				return fmt.Errorf("schedule %s: %w", d.Delivery.ID, err)
			}
		}
		for _, p := range plan.SetAside {
			if err := tx.setAside(ctx, p); err != nil {
				return fmt.Errorf("set event %s aside: %w", p.EventID, err)
			}
		}
		tx.WhenEnded(func(committed bool) {
			if committed {
				s.turns.taken(plan.Taken, plan.Deferred, time.Now())
			}
			ended(committed)
		})
		return nil
	})
}

// queueBodies puts each body where its deliveries look for it.
func queueBodies(b *pgx.Batch, plan fanout.Plan) {
	n := len(plan.Bodies)
	if n == 0 {
		return
	}
	accepted := make(map[intake.EventKey]int16, n)
	for _, d := range plan.Scheduled {
		accepted[intake.EventKey{Tenant: d.Delivery.Tenant, ID: d.Delivery.EventID}] = weekOf(d.AcceptedAt)
	}
	tenants, events, numbers, bytes, weeks := make([]string, n), make([]string, n), make([]int32, n), make([][]byte, n), make([]int16, n)
	for i, body := range plan.Bodies {
		tenants[i], events[i], numbers[i], bytes[i] = string(body.Tenant), body.EventID, int32(body.Number), packBody(body.Bytes, body.Tenant, body.EventID)
		weeks[i] = accepted[intake.EventKey{Tenant: body.Tenant, ID: body.EventID}]
	}
	b.Queue(insertBodies, tenants, events, numbers, bytes, weeks)
}

func queueGated(b *pgx.Batch, gated []fanout.Gated) {
	if len(gated) == 0 {
		return
	}
	n := len(gated)
	tenants, events, subscriptions, features := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	versions, accepted := make([]int64, n), make([]int64, n)
	for i, g := range gated {
		versions[i], accepted[i] = g.SubscriptionVersion, g.AcceptedAt.UnixMicro()
		tenants[i], events[i], subscriptions[i], features[i] = string(g.Tenant), g.EventID, g.SubscriptionID, string(g.Feature)
	}
	b.Queue(insertGated, tenants, events, subscriptions, features, versions, accepted)
}

// queueSweeps leaves sweeps that are already noted as they are.
func (tx *Tx) queueSweeps(b *pgx.Batch, sweeps []sweep.Sweep) {
	if len(sweeps) == 0 {
		return
	}
	n := len(sweeps)
	tenants, subscriptions, actions := make([]string, n), make([]string, n), make([]string, n)
	for i, w := range sweeps {
		tenants[i], subscriptions[i], actions[i] = string(w.Tenant), w.SubscriptionID, string(w.Action)
	}
	b.Queue(insertSweeps, tenants, subscriptions, actions)
	tx.QueueChanged()
}

func queueOpen(b *pgx.Batch, scheduled []fanout.Scheduled) error {
	if len(scheduled) == 0 {
		return nil
	}
	n := len(scheduled)
	tenants, ids, events, types, subs, warnings := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	statuses, traces := make([]string, n), make([]string, n)
	leases, due, leasedAt := make([]string, n), make([]int64, n), make([]int64, n)
	subVersions, versions, created, updated, accepted := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	bodies, attempts, failures, abandonments := make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
	for i, sch := range scheduled {
		d := sch.Delivery
		text := noWarnings
		if d.Warnings != nil {
			var err error
			if text, err = jsonText(d.Warnings); err != nil {
				return err
			}
		}
		tenants[i], ids[i], events[i], types[i], subs[i], warnings[i] = string(d.Tenant), d.ID, d.EventID, string(d.EventType), d.SubscriptionID, text
		statuses[i], traces[i] = string(d.Status), sch.TraceParent
		subVersions[i], versions[i] = d.SubscriptionVersion, d.Version
		bodies[i], attempts[i], failures[i], abandonments[i] = int32(d.BodyNumber), int32(d.Attempts), int32(d.Failures), int32(d.Abandonments)
		created[i], updated[i], accepted[i], due[i] = d.CreatedAt.UnixMicro(), d.UpdatedAt.UnixMicro(), sch.CountedAt().UnixMicro(), microsOrNone(d.DueAt)
		if leases[i] = sch.Lease; sch.Lease != "" {
			leasedAt[i] = created[i]
		}
	}
	b.Queue(insertOpen, tenants, ids, events, types, subs, subVersions, bodies, warnings, statuses, versions, attempts, failures, abandonments,
		created, updated, accepted, traces, due, leases, leasedAt)
	return nil
}

const markSetAside = `UPDATE events SET set_aside = $1 WHERE tenant_id = $2 AND event_id = $3`

// setAside marks the event, and puts it on the poison topic.
func (tx *Tx) setAside(ctx context.Context, p fanout.SetAside) error {
	r, err := records.OfSetAside(p)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, markSetAside, r.Data, p.Tenant, p.EventID); err != nil {
		return err
	}
	return tx.append(ctx, appended{Record: r})
}

func packBody(body []byte, owner tenant.ID, eventID string) []byte {
	return compact.Pack(compact.Body, body, string(owner), eventID)
}

// Body is the bytes that every attempt of the delivery sends.
func (s *Store) Body(ctx context.Context, d delivery.Delivery) ([]byte, error) {
	stored, err := one(ctx, s.db.from(ctx), value[[]byte],
		`SELECT body FROM bodies WHERE tenant_id = $1 AND event_id = $2 AND number = $3`, d.Tenant, d.EventID, d.BodyNumber)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, records.NoBody(d)
	}
	if err != nil {
		return nil, err
	}
	return records.UnpackBody(stored, d.Tenant, d.EventID)
}

const laneStates = `SELECT s.tenant_id, s.subscription_id, s.status, s.version, w.action IS NOT NULL
FROM unnest($1::text[], $2::text[]) AS k (tenant_id, subscription_id)
JOIN subscriptions s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id
LEFT JOIN sweeps w ON w.tenant_id = s.tenant_id AND w.subscription_id = s.subscription_id`

// queueLaneStates reads the states, after locking the lanes.
func queueLaneStates(ctx context.Context, b *pgx.Batch, lanes []dispatch.Lane, states map[dispatch.Lane]fanout.LaneState) {
	if len(lanes) == 0 {
		return
	}
	tenants, ids := laneArrays(lanes)
	queueKeepLanes(ctx, b, lanes)
	b.Queue(laneStates, tenants, ids).Query(rowByRow(func(rows pgx.Rows) error {
		var lane dispatch.Lane
		var state fanout.LaneState
		err := rows.Scan(&lane.Tenant, &lane.SubscriptionID, &state.Status, &state.Version, &state.Sweeping)
		states[lane] = state
		return err
	}))
}

const nextSweep = `SELECT tenant_id, subscription_id, action FROM sweeps ORDER BY turn_at LIMIT 1 FOR UPDATE SKIP LOCKED`

// NextSweep is the sweep that waits longest, of those that no other process works on.
func (s *Store) NextSweep(ctx context.Context) (sweep.Sweep, bool, error) {
	found, err := all(ctx, s.db.from(ctx), func(r pgx.Rows) (w sweep.Sweep, err error) {
		return w, r.Scan(&w.Tenant, &w.SubscriptionID, &w.Action)
	}, nextSweep)
	if err != nil || len(found) == 0 {
		return sweep.Sweep{}, false, err
	}
	return found[0], true, nil
}

// Swept lists open deliveries of the lane that nobody holds, and counts those that are held. One statement sees both: what is leased, or given
// back, between two would be in neither, and the sweep would end without it.
func (s *Store) Swept(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, limit int) (deliveries []delivery.Delivery, held int, err error) {
	row := listed()
	err = s.db.from(ctx).query(ctx, func(rows pgx.Rows) error {
		d, err := row(rows)
		if d.Status == delivery.StatusDelivering {
			held++
		} else {
			deliveries = append(deliveries, d)
		}
		return err
	}, sweptBy(statuses), lane.Tenant, lane.SubscriptionID, texts(statuses), limit)
	return deliveries, held, err
}

const (
	// Like takeReady, these search a lane by its subscription alone and then check the tenant. sweptAny, for all rows, searches by laneKey.
	sweptRows = `SELECT ` + deliveryColumns + `, due_at FROM open_deliveries
WHERE subscription_id = $2 AND lease IS NULL AND status = ANY($3::text[])`
	sweptDue = `SELECT * FROM ((` + sweptRows + ` AND due_at IS NOT NULL AND NOT waiting ORDER BY due_at, delivery_id LIMIT $4)
UNION ALL (` + sweptRows + ` AND waiting ORDER BY delivery_id LIMIT $4)) AS d WHERE tenant_id = $1 LIMIT $4`
	sweptParked = `SELECT * FROM (` + sweptRows + ` AND due_at IS NULL ORDER BY delivery_id LIMIT $4) AS d WHERE tenant_id = $1`
)

// heldRows goes through everything that is held: that is at most what all processes may hold, where a lane may have a million. OFFSET 0 makes
// it look for held rows before it checks the lane.
var heldRows = `SELECT ` + openColumns + ` FROM (SELECT * FROM open_deliveries WHERE lease > '' OFFSET 0) AS held WHERE tenant_id = $1 AND subscription_id = $2`

var sweptAny = sweptRows + ` AND ` + laneKey + ` > ` + laneStart("$1", "$2") + ` AND ` + laneKey + ` < ` + laneStart("$1", "$2") + ` || '~' ORDER BY ` + laneKey + ` LIMIT $4`

// sweptBy is what is swept, and then what is held. It keeps each batch of a sweep from walking over everything that earlier batches moved: what
// they parked is no longer due, and what they released is no longer parked.
func sweptBy(statuses []delivery.Status) string {
	swept, parked := sweptAny, slices.Contains(statuses, delivery.StatusParked)
	switch due := slices.ContainsFunc(statuses, delivery.Status.IsClaimable); {
	case due && !parked:
		swept = sweptDue
	case parked && !due:
		swept = sweptParked
	}
	return `(` + swept + `) UNION ALL (` + heldRows + `)`
}

// EndSweep deletes the sweep, or puts it behind the others. One that was replaced meanwhile stays.
func (s *Store) EndSweep(ctx context.Context, w sweep.Sweep, done bool, now time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if done {
			tx.QueueChanged()
			_, err := tx.Exec(ctx, `DELETE FROM sweeps WHERE tenant_id = $1 AND subscription_id = $2 AND action = $3`, w.Tenant, w.SubscriptionID, w.Action)
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE sweeps SET turn_at = $4 WHERE tenant_id = $1 AND subscription_id = $2 AND action = $3`,
			w.Tenant, w.SubscriptionID, w.Action, stamp(now))
		return err
	})
}
