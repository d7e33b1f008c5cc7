package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// dueLanes walks the lanes by their index, from one subscription to the next, and so costs the same
// however long each lane is.
const dueLanes = `
WITH RECURSIVE lane (subscription_id) AS (
    SELECT min(subscription_id) FROM open_deliveries WHERE lease IS NULL AND due_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(o.subscription_id) FROM open_deliveries o
            WHERE o.lease IS NULL AND o.due_at IS NOT NULL AND o.subscription_id > lane.subscription_id)
    FROM lane WHERE lane.subscription_id IS NOT NULL
)
SELECT lane.subscription_id,
    (SELECT o.tenant_id FROM open_deliveries o
     WHERE o.lease IS NULL AND o.due_at IS NOT NULL AND o.subscription_id = lane.subscription_id LIMIT 1),
    (SELECT min(o.due_at) FROM open_deliveries o
     WHERE o.lease IS NULL AND o.due_at IS NOT NULL AND o.subscription_id = lane.subscription_id)
FROM lane WHERE lane.subscription_id IS NOT NULL`

const dueInLane = `SELECT ` + deliveryColumns + `, ` + queueColumns + ` FROM open_deliveries
WHERE lease IS NULL AND due_at IS NOT NULL AND subscription_id = ? AND due_at <= ? AND tenant_id = ?
ORDER BY due_at, delivery_id LIMIT ?`

const takeLease = `UPDATE open_deliveries SET lease = ?, leased_at = ? WHERE tenant_id = ? AND delivery_id = ? AND lease IS NULL`

// dueLane is a lane with what is due first in it.
type dueLane struct {
	dispatch.Lane
	FirstDue time.Time
}

// LeaseDue leases by lanes; see dispatch.Store.
func (s *Store) LeaseDue(ctx context.Context, request dispatch.LeaseRequest) (answer dispatch.LeaseAnswer, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		answer = dispatch.LeaseAnswer{}
		lanes, err := s.lanes(ctx, request, &answer)
		if err != nil {
			return err
		}
		for i, lane := range lanes {
			left := request.Limit - len(answer.Leased)
			if left <= 0 {
				answer.LeftBehind(lane)
				continue
			}
			if err := s.leaseLane(ctx, tx, lane, request, max(1, left/(len(lanes)-i)), &answer); err != nil {
				return err
			}
		}
		return nil
	})
	return answer, err
}

// lanes are those with something due now, beginning behind the one that was last; the next due time of
// the others goes into the answer. Lanes that are being swept wait for that.
func (s *Store) lanes(ctx context.Context, request dispatch.LeaseRequest, answer *dispatch.LeaseAnswer) ([]dispatch.Lane, error) {
	found, err := all(ctx, s.db, func(r *sql.Rows) (d dueLane, err error) {
		var due sql.NullInt64
		err = r.Scan(&d.SubscriptionID, &d.Tenant, &due)
		d.FirstDue = moment(due)
		return d, err
	}, dueLanes)
	if err != nil {
		return nil, fmt.Errorf("look for due lanes: %w", err)
	}
	sweeping, err := s.sweeping(ctx)
	if err != nil {
		return nil, err
	}
	var lanes []dispatch.Lane
	for _, d := range found {
		switch {
		case sweeping[d.Lane]:
		case !d.FirstDue.After(request.Now):
			lanes = append(lanes, d.Lane)
		default:
			note(answer, d.Lane, d.FirstDue, request.Now)
		}
	}
	first, _ := slices.BinarySearchFunc(lanes, request.After, func(lane, after dispatch.Lane) int {
		return strings.Compare(lane.SubscriptionID, after.SubscriptionID+"\x00")
	})
	return append(lanes[first:len(lanes):len(lanes)], lanes[:first]...), nil
}

// leaseLane leases the oldest of one lane, as far as the lane may have them out, and notes what it leaves.
func (s *Store) leaseLane(ctx context.Context, tx *Tx, lane dispatch.Lane, request dispatch.LeaseRequest, limit int, answer *dispatch.LeaseAnswer) error {
	sub, err := s.state(ctx, lane)
	if err != nil || sub.Status != subscription.StatusActive {
		return err
	}
	limit = min(limit, request.Room(lane, sub.MaxInFlight))
	due, err := all(ctx, s.db, scanQueued, dueInLane, lane.SubscriptionID, stamp(request.Now), lane.Tenant, limit)
	if err != nil {
		return fmt.Errorf("read lane %s: %w", lane.SubscriptionID, err)
	}
	for _, q := range due {
		if _, err := tx.Exec(ctx, takeLease, request.Lease, stamp(request.Now), q.Tenant, q.ID); err != nil {
			return fmt.Errorf("lease %s: %w", q.ID, err)
		}
		body, err := s.Body(ctx, q.Delivery)
		if err != nil {
			return fmt.Errorf("read the body of %s: %w", q.ID, err)
		}
		answer.Leased = append(answer.Leased, dispatch.Leased{
			Delivery: q.Delivery, Subscription: sub, Body: body, TraceParent: q.TraceParent, AcceptedAt: q.AcceptedAt, Lease: request.Lease,
		})
	}
	return s.noteRest(ctx, lane, request.Now, answer)
}

const firstDue = `SELECT min(due_at) FROM open_deliveries WHERE lease IS NULL AND due_at IS NOT NULL AND subscription_id = ?`

// noteRest says in the answer what the lane still has: a dispatcher that is not told would sleep over it.
func (s *Store) noteRest(ctx context.Context, lane dispatch.Lane, now time.Time, answer *dispatch.LeaseAnswer) error {
	first, err := one(ctx, s.db, func(r *sql.Rows) (at sql.NullInt64, err error) { return at, r.Scan(&at) }, firstDue, lane.SubscriptionID)
	if err != nil {
		return fmt.Errorf("look for the rest of lane %s: %w", lane.SubscriptionID, err)
	}
	if first.Valid {
		note(answer, lane, moment(first), now)
	}
	return nil
}

func note(answer *dispatch.LeaseAnswer, lane dispatch.Lane, due, now time.Time) {
	switch {
	case !due.After(now):
		answer.LeftBehind(lane)
	case answer.NextDue.IsZero() || due.Before(answer.NextDue):
		answer.NextDue = due
	}
}

// state is the subscription as its last change left it.
func (s *Store) state(ctx context.Context, lane dispatch.Lane) (sub subscription.Subscription, err error) {
	state, err := one(ctx, s.db, func(r *sql.Rows) (b []byte, err error) { return b, r.Scan(&b) },
		`SELECT state FROM subscriptions WHERE tenant_id = ? AND subscription_id = ?`, lane.Tenant, lane.SubscriptionID)
	if err != nil {
		return sub, fmt.Errorf("read subscription %s: %w", lane.SubscriptionID, notFound(err, "subscription"))
	}
	return sub, json.Unmarshal(state, &sub)
}

// GiveBack ends leases of deliveries that were not attempted.
func (s *Store) GiveBack(ctx context.Context, lease string, leased []dispatch.Leased) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for _, l := range leased {
			_, err := tx.Exec(ctx, `UPDATE open_deliveries SET lease = NULL, leased_at = NULL
				WHERE tenant_id = ? AND delivery_id = ? AND lease = ?`, l.Delivery.Tenant, l.Delivery.ID, lease)
			if err != nil {
				return fmt.Errorf("give %s back: %w", l.Delivery.ID, err)
			}
		}
		tx.QueueChanged()
		return nil
	})
}

// Heartbeat says that the incarnation lives.
func (s *Store) Heartbeat(ctx context.Context, incarnation string, now time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO incarnations (incarnation, started_at, heartbeat_at) VALUES (?1, ?2, ?2)
			ON CONFLICT (incarnation) DO UPDATE SET heartbeat_at = excluded.heartbeat_at`, incarnation, stamp(now))
		return err
	})
}

// BeginIncarnation registers this process as the only one that lives: whoever had the file
// before is gone, since the file is locked by one process at a time, and with it the requests that
// it was working on. It fails when the process cannot open what is sealed in the database.
func (s *Store) BeginIncarnation(ctx context.Context, incarnation string, now time.Time) error {
	if err := s.checkSealer(ctx); err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM incarnations`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM idempotency_keys WHERE sealed IS NULL`); err != nil {
			return err
		}
		return s.Heartbeat(ctx, incarnation, now)
	})
}

// orphans walks the leases by their index; a holder without a live heartbeat is dead.
const orphans = `SELECT ` + deliveryColumns + `, ` + queueColumns + ` FROM open_deliveries
WHERE lease IN (
    SELECT lease FROM (SELECT DISTINCT lease FROM open_deliveries WHERE lease IS NOT NULL)
    WHERE lease NOT IN (SELECT incarnation FROM incarnations WHERE heartbeat_at >= ?)
) LIMIT ?`

// Orphans lists deliveries whose holder's heartbeat stopped.
func (s *Store) Orphans(ctx context.Context, heartbeatBefore time.Time, limit int) ([]dispatch.Orphan, error) {
	found, err := all(ctx, s.db, scanQueued, orphans, stamp(heartbeatBefore), limit)
	if err != nil {
		return nil, err
	}
	list := make([]dispatch.Orphan, len(found))
	for i, q := range found {
		sub, err := s.state(ctx, dispatch.Lane{Tenant: q.Tenant, SubscriptionID: q.SubscriptionID})
		if err != nil {
			return nil, err
		}
		list[i] = dispatch.Orphan{Delivery: q.Delivery, Schedule: sub.RetrySchedule, Lease: q.Lease, LeasedAt: q.LeasedAt}
	}
	return list, nil
}

// NoteHealth remembers since when each lane has done nothing but fail; see dispatch.Store.
func (s *Store) NoteHealth(ctx context.Context, lanes map[dispatch.Lane]bool, now time.Time) (map[dispatch.Lane]time.Time, error) {
	failing := map[dispatch.Lane]time.Time{}
	err := s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for lane, succeeded := range lanes {
			if succeeded {
				if _, err := tx.Exec(ctx, `UPDATE subscriptions SET failing_since = NULL
					WHERE tenant_id = ? AND subscription_id = ? AND failing_since IS NOT NULL`, lane.Tenant, lane.SubscriptionID); err != nil {
					return err
				}
				continue
			}
			if _, err := tx.Exec(ctx, `UPDATE subscriptions SET failing_since = ?
				WHERE tenant_id = ? AND subscription_id = ? AND failing_since IS NULL`, stamp(now), lane.Tenant, lane.SubscriptionID); err != nil {
				return err
			}
			since, err := one(ctx, s.db, func(r *sql.Rows) (at sql.NullInt64, err error) { return at, r.Scan(&at) },
				`SELECT failing_since FROM subscriptions WHERE tenant_id = ? AND subscription_id = ?`, lane.Tenant, lane.SubscriptionID)
			if err != nil {
				return err
			}
			failing[lane] = moment(since)
		}
		return nil
	})
	return failing, err
}
