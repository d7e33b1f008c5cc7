package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/payload"
)

var insertBodies = insertInto("bodies", "tenant_id, event_id, number, body")

const insertGated = `INSERT INTO gated_events (tenant_id, event_id, subscription_id, feature, subscription_version, accepted_at) VALUES (?, ?, ?, ?, ?, ?)`

// Schedule stores a plan: bodies, open deliveries with their changes, and gated dispositions.
func (s *Store) Schedule(ctx context.Context, plan fanout.Plan, ended func(committed bool)) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		bodies := make([]any, 0, len(plan.Bodies)*insertBodies.columns)
		for _, b := range plan.Bodies {
			bodies = append(bodies, b.Tenant, b.EventID, b.Number, compact.Pack(compact.Body, b.Bytes, string(b.Tenant), b.EventID))
		}
		if err := tx.insert(ctx, insertBodies, bodies); err != nil {
			return fmt.Errorf("insert %d bodies: %w", len(plan.Bodies), err)
		}
		if err := tx.schedule(ctx, plan.Scheduled); err != nil {
			return fmt.Errorf("schedule %d deliveries: %w", len(plan.Scheduled), err)
		}
		for _, g := range plan.Gated {
			if _, err := tx.Exec(ctx, insertGated,
				g.Tenant, g.EventID, g.SubscriptionID, g.Feature, g.SubscriptionVersion, stamp(g.AcceptedAt)); err != nil {
				return fmt.Errorf("insert a gated disposition of %s: %w", g.EventID, err)
			}
		}
		for _, p := range plan.SetAside {
			if err := tx.setAside(ctx, p); err != nil {
				return fmt.Errorf("set event %s aside: %w", p.EventID, err)
			}
		}
		for _, w := range plan.Sweeps {
			if err := tx.noteSweep(ctx, w); err != nil {
				return fmt.Errorf("note a sweep of %s: %w", w.SubscriptionID, err)
			}
		}
		for _, t := range plan.Tallies {
			if err := tx.addTally(ctx, t); err != nil {
				return fmt.Errorf("count the dispositions of tenant %s: %w", t.Tenant, err)
			}
		}
		tx.WhenEnded(ended)
		return tx.moveDeferred(ctx, plan.Taken, plan.Deferred)
	})
}

func (tx *Tx) schedule(ctx context.Context, scheduled []fanout.Scheduled) (err error) {
	open := make([]any, 0, len(scheduled)*insertOpen.columns)
	changes := make([]records.Record, 0, len(scheduled))
	for _, d := range scheduled {
		q := queued{Delivery: d.Delivery, AcceptedAt: d.CountedAt(), TraceParent: d.TraceParent, Lease: d.Lease}
		if d.Lease != "" {
			q.LeasedAt = d.Delivery.CreatedAt
		} else if d.Delivery.Status.IsClaimable() {
			tx.QueueChanged()
		}
		if open, err = openArgs(open, q); err != nil {
			return fmt.Errorf("encode %s: %w", q.ID, err)
		}
		of, err := records.OfDelivery(d.Delivery, 0, d.Changes, d.TraceParent)
		if err != nil {
			return fmt.Errorf("encode the changes of %s: %w", q.ID, err)
		}
		changes = append(changes, of...)
	}
	if err := tx.insert(ctx, insertOpen, open); err != nil {
		return err
	}
	return tx.append(ctx, changes...)
}

// setAside marks the event as set aside and appends it to the poison topic.
func (tx *Tx) setAside(ctx context.Context, p fanout.SetAside) error {
	r, err := records.OfSetAside(p)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE events SET set_aside = ? WHERE tenant_id = ? AND event_id = ?`, r.Data, p.Tenant, p.EventID); err != nil {
		return err
	}
	return tx.append(ctx, r)
}

// Body has the bytes that every attempt of the delivery sends.
func (s *Store) Body(ctx context.Context, d delivery.Delivery) ([]byte, error) {
	stored, err := one(ctx, s.db, value[[]byte],
		`SELECT body FROM bodies WHERE tenant_id = ? AND event_id = ? AND number = ?`, d.Tenant, d.EventID, d.BodyNumber)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, records.NoBody(d)
	}
	if err != nil {
		return nil, err
	}
	return records.UnpackBody(stored, d.Tenant, d.EventID)
}

// noteSweep leaves a sweep that is already noted as it is.
func (tx *Tx) noteSweep(ctx context.Context, w sweep.Sweep) error {
	tx.QueueChanged()
	_, err := tx.Exec(ctx, `INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) VALUES (?, ?, ?, 0) ON CONFLICT DO NOTHING`,
		w.Tenant, w.SubscriptionID, w.Action)
	return err
}

const laneStates = `SELECT s.tenant_id, s.subscription_id, s.status, s.version, w.action IS NOT NULL FROM json_each(?) k
CROSS JOIN subscriptions s ON s.tenant_id = k.value ->> 'Tenant' AND s.subscription_id = k.value ->> 'SubscriptionID'
LEFT JOIN sweeps w ON w.tenant_id = s.tenant_id AND w.subscription_id = s.subscription_id`

// LaneStates is the present state of the lanes' subscriptions.
func (s *Store) LaneStates(ctx context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]fanout.LaneState, error) {
	wanted, err := list(lanes)
	if err != nil {
		return nil, err
	}
	states := map[dispatch.Lane]fanout.LaneState{}
	err = s.db.query(ctx, func(r *sql.Rows) error {
		var lane dispatch.Lane
		var state fanout.LaneState
		err := r.Scan(&lane.Tenant, &lane.SubscriptionID, &state.Status, &state.Version, &state.Sweeping)
		states[lane] = state
		return err
	}, laneStates, wanted)
	return states, err
}

// ResolveFor is Resolve and LaneStates together; see fanout.Store.
func (s *Store) ResolveFor(ctx context.Context, lookups []fanout.Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]fanout.LaneState, error) {
	contexts, err := s.Resolve(ctx, lookups)
	if err != nil {
		return nil, nil, err
	}
	states, err := s.LaneStates(ctx, lanes)
	return contexts, states, err
}

// sweeping is the set of lanes that are being swept.
func (s *Store) sweeping(ctx context.Context) (map[dispatch.Lane]bool, error) {
	lanes, err := all(ctx, s.db, scanLane, `SELECT tenant_id, subscription_id FROM sweeps`)
	sweeping := map[dispatch.Lane]bool{}
	for _, lane := range lanes {
		sweeping[lane] = true
	}
	return sweeping, err
}

func scanLane(r *sql.Rows) (lane dispatch.Lane, err error) {
	return lane, r.Scan(&lane.Tenant, &lane.SubscriptionID)
}

// NextSweep is the sweep that has waited longest.
func (s *Store) NextSweep(ctx context.Context) (sweep.Sweep, bool, error) {
	found, err := all(ctx, s.db, func(r *sql.Rows) (w sweep.Sweep, err error) {
		return w, r.Scan(&w.Tenant, &w.SubscriptionID, &w.Action)
	}, `SELECT tenant_id, subscription_id, action FROM sweeps ORDER BY turn_at LIMIT 1`)
	if err != nil || len(found) == 0 {
		return sweep.Sweep{}, false, err
	}
	return found[0], true, nil
}

// Swept lists the lane's open deliveries that are not leased, and counts the leased ones.
func (s *Store) Swept(ctx context.Context, lane dispatch.Lane, statuses []delivery.Status, limit int) ([]delivery.Delivery, int, error) {
	wanted, err := list(statuses)
	if err != nil {
		return nil, 0, err
	}
	deliveries, err := all(ctx, s.db, scanListed, sweptBy(statuses), lane.Tenant, lane.SubscriptionID, wanted, limit)
	if err != nil {
		return nil, 0, err
	}
	held, err := one(ctx, s.db, value[int],
		`SELECT count(*) FROM open_deliveries INDEXED BY open_deliveries_by_lease
			WHERE lease IS NOT NULL AND tenant_id = ? AND subscription_id = ?`, lane.Tenant, lane.SubscriptionID)
	return deliveries, held, err
}

const (
	sweptRows   = `SELECT ` + deliveryColumns + `, due_at FROM open_deliveries INDEXED BY `
	sweptOf     = ` AND tenant_id = ?1 AND subscription_id = ?2 AND lease IS NULL AND status IN (SELECT value FROM json_each(?3)) ORDER BY `
	sweptReady  = sweptRows + `open_deliveries_ready WHERE due_at IS NOT NULL AND waiting = 0` + sweptOf + `due_at, delivery_id LIMIT ?4`
	sweptWaits  = sweptRows + `open_deliveries_waiting_in_lane WHERE waiting = 1` + sweptOf + `delivery_id LIMIT ?4`
	sweptDue    = `SELECT * FROM (SELECT * FROM (` + sweptReady + `) UNION ALL SELECT * FROM (` + sweptWaits + `)) LIMIT ?4`
	sweptParked = sweptRows + `open_deliveries_parked WHERE due_at IS NULL` + sweptOf + `delivery_id LIMIT ?4`
	sweptAny    = sweptRows + `open_deliveries_by_subscription WHERE 1` + sweptOf + `delivery_id LIMIT ?4`
)

// sweptBy keeps each batch of a sweep from walking over everything that earlier batches moved: what they
// parked is no longer due, and what they released is no longer parked.
func sweptBy(statuses []delivery.Status) string {
	parked := slices.Contains(statuses, delivery.StatusParked)
	switch due := slices.ContainsFunc(statuses, delivery.Status.IsClaimable); {
	case due && !parked:
		return sweptDue
	case parked && !due:
		return sweptParked
	default:
		return sweptAny
	}
}

// EndSweep deletes the sweep, or puts it behind the others. One that was replaced meanwhile stays.
func (s *Store) EndSweep(ctx context.Context, w sweep.Sweep, done bool, now time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		query := `UPDATE sweeps SET turn_at = ?4 WHERE tenant_id = ?1 AND subscription_id = ?2 AND action = ?3`
		args := []any{w.Tenant, w.SubscriptionID, w.Action, stamp(now)}
		if done {
			query = `DELETE FROM sweeps WHERE tenant_id = ?1 AND subscription_id = ?2 AND action = ?3`
			args = args[:3]
			tx.QueueChanged()
		}
		_, err := tx.Exec(ctx, query, args...)
		return err
	})
}
