package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// Heartbeat says that the incarnation lives.
func (s *Store) Heartbeat(ctx context.Context, incarnation string, now time.Time) error {
	_, err := s.change(ctx, `INSERT INTO incarnations (incarnation, started_at, heartbeat_at, session) VALUES ($1, $2, $2, $3)
		ON CONFLICT (incarnation) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, session = excluded.session`, incarnation, stamp(now), s.db.session())
	return err
}

// forgottenAfter is for how long the row of a dead process is kept; its leases are taken over long before.
const forgottenAfter = time.Hour

// forgetDead forgets processes that were silent for long, and those whose listening connection is gone: the server ends it
// with the process, so what a process held that was killed is taken over as soon as it, or another, starts.
const forgetDead = `DELETE FROM incarnations i WHERE heartbeat_at < $1
OR session IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.application_name = i.session)`

// BeginIncarnation registers this process beside the others that live.
func (s *Store) BeginIncarnation(ctx context.Context, incarnation string, now time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, forgetDead, stamp(now.Add(-forgottenAfter))); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, forgetCircuits); err != nil {
			return err
		}
		return s.Heartbeat(ctx, incarnation, now)
	})
}

// orphans walks the holders by their index, from one to the next; one without a live heartbeat is dead.
const orphans = `
WITH RECURSIVE holder AS (
    (SELECT lease FROM open_deliveries WHERE lease IS NOT NULL ORDER BY lease LIMIT 1)
    UNION ALL
    SELECT next.lease FROM holder CROSS JOIN LATERAL (
        SELECT o.lease FROM open_deliveries o WHERE o.lease IS NOT NULL AND o.lease > holder.lease ORDER BY o.lease LIMIT 1) next
)
SELECT orphan.* FROM holder CROSS JOIN LATERAL (
    SELECT ` + deliveryColumns + `, ` + queueColumns + ` FROM open_deliveries o WHERE o.lease = holder.lease LIMIT $2) orphan
WHERE NOT EXISTS (SELECT 1 FROM incarnations i WHERE i.incarnation = holder.lease AND i.heartbeat_at >= $1)
LIMIT $2`

// Orphans lists deliveries whose holder's heartbeat stopped.
func (s *Store) Orphans(ctx context.Context, heartbeatBefore time.Time, limit int) ([]dispatch.Orphan, error) {
	found, err := all(ctx, s.db.from(ctx), scanQueued, orphans, stamp(heartbeatBefore), limit)
	if err != nil {
		return nil, err
	}
	lanes := make([]dispatch.Lane, len(found))
	for i, q := range found {
		lanes[i] = dispatch.Lane{Tenant: q.Tenant, SubscriptionID: q.SubscriptionID}
	}
	states, err := s.states(ctx, lanes)
	if err != nil {
		return nil, err
	}
	list := make([]dispatch.Orphan, len(found))
	for i, q := range found {
		sub, known := states[lanes[i]]
		if !known {
			return nil, fmt.Errorf("delivery %s belongs to no subscription", q.ID)
		}
		list[i] = dispatch.Orphan{Delivery: q.Delivery, Schedule: sub.RetrySchedule, Lease: q.Lease, LeasedAt: q.LeasedAt}
	}
	return list, nil
}

// Both touch a row only when its lane's health changes. Lanes are locked in one order.
const (
	noteSuccess = `UPDATE subscriptions SET failing_since = NULL WHERE failing_since IS NOT NULL
AND (tenant_id, subscription_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))`
	noteFailure = `UPDATE subscriptions SET failing_since = $3 WHERE failing_since IS NULL
AND (tenant_id, subscription_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))`
	failingSince = `SELECT s.tenant_id, s.subscription_id, s.failing_since FROM unnest($1::text[], $2::text[]) AS k (tenant_id, subscription_id)
JOIN subscriptions s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id`
)

// NoteHealth remembers since when each lane has done nothing but fail; see dispatch.Store.
func (s *Store) NoteHealth(ctx context.Context, lanes map[dispatch.Lane]bool, now time.Time) (map[dispatch.Lane]time.Time, error) {
	var succeeded, failed []dispatch.Lane
	for lane, ok := range lanes {
		if ok {
			succeeded = append(succeeded, lane)
		} else {
			failed = append(failed, lane)
		}
	}
	var failing map[dispatch.Lane]time.Time
	err := s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		failing = map[dispatch.Lane]time.Time{}
		return tx.write(ctx, healthBatch(succeeded, failed, now, failing))
	})
	return failing, err
}

func healthBatch(succeeded, failed []dispatch.Lane, now time.Time, failing map[dispatch.Lane]time.Time) *pgx.Batch {
	b := &pgx.Batch{}
	if len(succeeded) > 0 {
		tenants, ids := laneArrays(succeeded)
		b.Queue(noteSuccess, tenants, ids)
	}
	if len(failed) > 0 {
		tenants, ids := laneArrays(failed)
		b.Queue(noteFailure, tenants, ids, stamp(now))
		b.Queue(failingSince, tenants, ids).Query(func(rows pgx.Rows) error {
			return eachRow(rows, func() error { return scanFailing(rows, failing) })
		})
	}
	return b
}

func scanFailing(rows pgx.Rows, into map[dispatch.Lane]time.Time) error {
	var lane dispatch.Lane
	var since *int64
	if err := rows.Scan(&lane.Tenant, &lane.SubscriptionID, &since); err != nil {
		return err
	}
	into[lane] = moment(since)
	return nil
}
