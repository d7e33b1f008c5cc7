package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// maxFallen bounds how many deliveries one look makes ready.
const maxFallen = 500

const fallen = `SELECT tenant_id, delivery_id, subscription_id FROM open_deliveries WHERE waiting = 1 AND due_at <= ? ORDER BY due_at, delivery_id LIMIT ?`

const makeReady = `UPDATE open_deliveries SET waiting = 0 WHERE tenant_id = ? AND delivery_id = ?`

const nextDue = `SELECT min(due_at) FROM open_deliveries WHERE waiting = 1`

// readyLanes walks the index from one subscription to the next, so its cost does not depend on how long each
// lane is.
const readyLanes = `
WITH RECURSIVE lane (subscription_id) AS (
    SELECT min(subscription_id) FROM open_deliveries WHERE ` + isReady + ` AND subscription_id > ?1
    UNION ALL
    SELECT (SELECT min(o.subscription_id) FROM open_deliveries o WHERE ` + isReady + ` AND o.subscription_id > lane.subscription_id)
    FROM lane WHERE lane.subscription_id IS NOT NULL
    LIMIT ?2
)
SELECT (SELECT tenant_id FROM open_deliveries o WHERE ` + isReady + ` AND o.subscription_id = lane.subscription_id LIMIT 1), lane.subscription_id
FROM lane WHERE lane.subscription_id IS NOT NULL`

// isReady is the condition of the partial index of ready deliveries.
const isReady = `lease IS NULL AND due_at IS NOT NULL AND waiting = 0`

// readyInLane gives NULL for a body that is missing.
const readyInLane = `SELECT ` + deliveryColumns + `, ` + queueColumns + `,
(SELECT body FROM bodies b WHERE b.tenant_id = o.tenant_id AND b.event_id = o.event_id AND b.number = o.body_number)
FROM open_deliveries o WHERE ` + isReady + ` AND subscription_id = ? AND tenant_id = ?
ORDER BY due_at, delivery_id LIMIT ?`

const takeLeases = `UPDATE open_deliveries SET lease = ?, leased_at = ?
WHERE (tenant_id, delivery_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?)) AND lease IS NULL`

// Look makes ready what has fallen due and reports the lanes that have something ready; see dispatch.Queue.
func (s *Store) Look(ctx context.Context, request dispatch.LookRequest) (answer dispatch.LookAnswer, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) (err error) {
		answer = dispatch.LookAnswer{}
		if answer.Fallen, err = s.fall(ctx, tx, request.Now); err != nil {
			return fmt.Errorf("make ready what is due: %w", err)
		}
		first, err := one(ctx, s.db, value[sql.NullInt64], nextDue)
		if err != nil {
			return fmt.Errorf("look for what is due next: %w", err)
		}
		answer.NextDue = moment(first)
		if request.Lanes == 0 {
			return nil
		}
		if answer.Ready, err = all(ctx, s.db, scanLane, readyLanes, request.After, request.Lanes); err != nil {
			return fmt.Errorf("look for ready lanes: %w", err)
		}
		return nil
	})
	return answer, err
}

// fall makes due deliveries ready, oldest first.
func (s *Store) fall(ctx context.Context, tx *Tx, now time.Time) (lanes []dispatch.Lane, err error) {
	type row struct {
		dispatch.Lane
		id string
	}
	due, err := all(ctx, s.db, func(r *sql.Rows) (d row, err error) { return d, r.Scan(&d.Tenant, &d.id, &d.SubscriptionID) }, fallen, stamp(now), maxFallen)
	if err != nil {
		return nil, err
	}
	for _, d := range due {
		if _, err := tx.Exec(ctx, makeReady, d.Tenant, d.id); err != nil {
			return nil, err
		}
		lanes = append(lanes, d.Lane)
	}
	return lanes, nil
}

// LeaseReady leases ready deliveries lane by lane; see dispatch.Queue.
func (s *Store) LeaseReady(ctx context.Context, request dispatch.LeaseRequest) (answer dispatch.LeaseAnswer, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		answer = dispatch.LeaseAnswer{Lanes: map[dispatch.Lane]dispatch.LaneRest{}}
		sweeping, err := s.sweeping(ctx)
		if err != nil {
			return err
		}
		for _, asked := range request.Lanes {
			if sweeping[asked.Lane] {
				continue
			}
			if err := s.leaseLane(ctx, asked, request, &answer); err != nil {
				return fmt.Errorf("lease from lane %s: %w", asked.SubscriptionID, err)
			}
		}
		return tx.takeLeases(ctx, answer.Leased, request)
	})
	return answer, err
}

// leaseLane finds the oldest deliveries of one lane, as many as may be in flight, and notes whether more are left.
func (s *Store) leaseLane(ctx context.Context, asked dispatch.Asked, request dispatch.LeaseRequest, answer *dispatch.LeaseAnswer) error {
	sub, weight, err := s.state(ctx, s.db, asked.Lane)
	unreadable := err
	switch {
	case errors.Is(err, dispatch.ErrUnreadable):
		err = nil
	case problem.Is(err, problem.NotFound):
		return nil
	}
	if err != nil || sub.Status != subscription.StatusActive {
		return err
	}
	limit := max(0, min(asked.Slots, sub.MaxInFlight-asked.Out))
	ready, err := all(ctx, s.db, scanReady, readyInLane, asked.SubscriptionID, asked.Tenant, limit+1)
	if err != nil {
		return err
	}
	answer.Lanes[asked.Lane] = dispatch.LaneRest{MaxInFlight: sub.MaxInFlight, Weight: weight, More: len(ready) > limit}
	for _, q := range ready[:min(limit, len(ready))] {
		body, damaged := q.unpackBody()
		answer.Leased = append(answer.Leased, dispatch.Leased{
			Delivery: q.Delivery, Subscription: &sub, Body: body, TraceParent: q.TraceParent, AcceptedAt: q.AcceptedAt, Lease: request.Lease,
			Unreadable: cmp.Or(dispatch.CheckStatus(q.Delivery), unreadable, damaged),
		})
	}
	return nil
}

// readyDelivery is a delivery to lease, with its body as it is stored.
type readyDelivery struct {
	queued
	body []byte
}

func scanReady(r *sql.Rows) (d readyDelivery, err error) {
	d.queued, err = scanQueuedAnd(r, &d.body)
	return d, err
}

// unpackBody returns dispatch.ErrUnreadable for a missing or damaged body.
func (d readyDelivery) unpackBody() ([]byte, error) {
	if d.body == nil {
		return nil, records.NoBody(d.Delivery)
	}
	return records.UnpackBody(d.body, d.Tenant, d.EventID)
}

func (tx *Tx) takeLeases(ctx context.Context, leased []dispatch.Leased, request dispatch.LeaseRequest) error {
	if len(leased) == 0 {
		return nil
	}
	keys := make([][2]string, len(leased))
	for i, l := range leased {
		keys[i] = [2]string{string(l.Delivery.Tenant), l.Delivery.ID}
	}
	wanted, err := list(keys)
	if err == nil {
		_, err = tx.Exec(ctx, takeLeases, request.Lease, stamp(request.Now), wanted)
	}
	if err != nil {
		return fmt.Errorf("take %d leases: %w", len(leased), err)
	}
	return nil
}

// state is the subscription as its last change left it, and its tenant's weight. If it cannot be read, dispatch.ErrUnreadable
// comes with what is still known of it.
func (s *Store) state(ctx context.Context, from reader, lane dispatch.Lane) (sub subscription.Subscription, weight int, err error) {
	var status subscription.Status
	state, err := one(ctx, from, func(r *sql.Rows) (b []byte, err error) { return b, r.Scan(&b, &status, &weight) },
		`SELECT s.state, s.status, t.weight FROM subscriptions s JOIN tenants t ON t.tenant_id = s.tenant_id
		WHERE s.tenant_id = ? AND s.subscription_id = ?`, lane.Tenant, lane.SubscriptionID)
	if err != nil {
		return sub, 0, fmt.Errorf("read subscription %s: %w", lane.SubscriptionID, notFound(err, "subscription"))
	}
	sub, err = s.StoredSubscription(ctx, lane, state)
	if errors.Is(err, dispatch.ErrUnreadable) {
		sub.Status = status
	}
	return sub, weight, err
}

// GiveBack ends the leases of deliveries that were not attempted; see dispatch.Store.
func (s *Store) GiveBack(ctx context.Context, lease string, leased []dispatch.Leased) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for _, l := range leased {
			_, err := tx.Exec(ctx, `UPDATE open_deliveries SET lease = NULL, leased_at = NULL
				WHERE tenant_id = ? AND delivery_id = ? AND version = ? AND lease = ?`, l.Delivery.Tenant, l.Delivery.ID, l.Delivery.Version, lease)
			if err != nil {
				return fmt.Errorf("give %s back: %w", l.Delivery.ID, err)
			}
		}
		tx.QueueChanged()
		return nil
	})
}

// Heartbeat notes that the incarnation is alive.
func (s *Store) Heartbeat(ctx context.Context, incarnation string, now time.Time) error {
	_, err := s.change(ctx, `INSERT INTO incarnations (incarnation, started_at, heartbeat_at) VALUES (?1, ?2, ?2)
		ON CONFLICT (incarnation) DO UPDATE SET heartbeat_at = excluded.heartbeat_at`, incarnation, stamp(now))
	return err
}

// BeginIncarnation registers this process as the only one alive. One process at a time locks the file,
// so whoever had it before is gone, and so are the requests it was working on.
func (s *Store) BeginIncarnation(ctx context.Context, incarnation string, now time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM incarnations`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM circuits`); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM idempotency_keys WHERE sealed IS NULL`); err != nil {
			return err
		}
		return s.Heartbeat(ctx, incarnation, now)
	})
}

// orphans walks the leases by their index; a holder without a recent heartbeat is dead.
const orphans = `SELECT ` + deliveryColumns + `, ` + queueColumns + ` FROM open_deliveries
WHERE lease IN (
    SELECT lease FROM (SELECT DISTINCT lease FROM open_deliveries WHERE lease IS NOT NULL)
    WHERE lease NOT IN (SELECT incarnation FROM incarnations WHERE heartbeat_at BETWEEN ? AND coalesce(?, heartbeat_at))
) LIMIT ?`

// Orphans lists deliveries whose holder's heartbeat has stopped.
func (s *Store) Orphans(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	found, err := all(ctx, s.db, scanQueued, orphans, stamp(from), stamp(to), limit)
	if err != nil {
		return nil, err
	}
	list := make([]dispatch.Orphan, len(found))
	for i, q := range found {
		sub, _, err := s.state(ctx, s.db, dispatch.LaneOf(q.Delivery))
		if err != nil && !errors.Is(err, dispatch.ErrUnreadable) && !problem.Is(err, problem.NotFound) {
			return nil, err
		}
		list[i] = dispatch.Orphan{Delivery: q.Delivery, Schedule: sub.RetrySchedule, Lease: q.Lease, LeasedAt: q.LeasedAt}
	}
	return list, nil
}
