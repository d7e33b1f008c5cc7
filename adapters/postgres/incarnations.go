package postgres

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
)

const beat = `INSERT INTO incarnations (incarnation, started_at, heartbeat_at, session, knows_turns) VALUES ($1, $2, $2, $3, true)
ON CONFLICT (incarnation) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, session = excluded.session
RETURNING ` + microsNow

// Heartbeat notes that the incarnation is alive, and what time it is at the server.
func (s *Store) Heartbeat(ctx context.Context, incarnation string, now time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		asked := time.Now()
		server, err := one(ctx, writer{tx}, scanTime, beat, incarnation, stamp(now), s.db.session())
		if err == nil {
			s.db.clock.learn(asked, server)
		}
		return err
	})
}

// forgottenAfter is how long a dead process's row is kept; its leases are taken over long before.
const forgottenAfter = time.Hour

// forgetDead deletes processes that have been silent for long, and those whose listening connection is gone: the server ends it with the
// process, so what a killed process held is taken over as soon as it, or another, starts. A process that found the server away does
// not know who has yet to reconnect.
const forgetDead = `DELETE FROM incarnations i WHERE heartbeat_at < $1
OR NOT $2 AND session IS NOT NULL AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.application_name = i.session)`

// BeginIncarnation registers this process.
func (s *Store) BeginIncarnation(ctx context.Context, incarnation string, now time.Time) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, forgetDead, stamp(now.Add(-forgottenAfter)), s.db.Waited()); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, forgetCircuits); err != nil {
			return err
		}
		return s.Heartbeat(ctx, incarnation, now)
	})
}

// goneAfter is the silence after which a process whose listening connection is gone counts as dead: the server ends that connection with
// the process. One that is alive and lost it still sends a heartbeat every HeartbeatInterval.
const goneAfter = dispatch.HeartbeatInterval * 3 / 2

// orphans walks the index over the holders that are not alive, from one to the next, in the gaps between the live ones. What a live one
// holds is skipped: while anybody holds an old snapshot, that is everything it has leased since. A process without its listening
// connection is judged by its heartbeat, with less patience, unless this process has just lost its own, and others perhaps with it.
const orphans = `
WITH RECURSIVE listening AS MATERIALIZED (
    SELECT array_agg(application_name) AS names,
        count(*) FILTER (WHERE application_name = $4 AND backend_start < now() - interval '3 s') > 0 AS lasting FROM pg_stat_activity
), alive AS MATERIALIZED (
    SELECT i.incarnation FROM incarnations i, listening l
    WHERE i.heartbeat_at BETWEEN $1 AND coalesce($5, i.heartbeat_at) AND (i.session IS NULL OR i.heartbeat_at >= $2 OR NOT l.lasting OR i.session = ANY(l.names))
), gap AS (
    SELECT b.lower, coalesce((SELECT min(a.incarnation) FROM alive a WHERE a.incarnation > b.lower), '` + afterAll + `') AS upper
    FROM (SELECT '' COLLATE "C" AS lower UNION ALL SELECT incarnation FROM alive) b
), holder AS (
    SELECT first.lease, gap.upper FROM gap CROSS JOIN LATERAL (
        SELECT o.lease FROM open_deliveries o WHERE o.lease IS NOT NULL AND o.lease > gap.lower AND o.lease < gap.upper ORDER BY o.lease LIMIT 1) first
    UNION ALL
    SELECT next.lease, holder.upper FROM holder CROSS JOIN LATERAL (
        SELECT o.lease FROM open_deliveries o WHERE o.lease IS NOT NULL AND o.lease > holder.lease AND o.lease < holder.upper ORDER BY o.lease LIMIT 1) next
)
SELECT orphan.* FROM holder CROSS JOIN LATERAL (
    SELECT ` + deliveryColumns + `, ` + queueColumns + ` FROM open_deliveries o WHERE o.lease = holder.lease LIMIT $3) orphan
LIMIT $3`

// Orphans lists deliveries whose holder's heartbeat has stopped; see dispatch.Incarnations.
func (s *Store) Orphans(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	found, err := all(ctx, s.db.from(ctx), queuedRows().scan, orphans,
		stamp(from), stamp(from.Add(dispatch.HeartbeatTimeout-goneAfter)), limit, s.db.session(), stamp(to))
	if err != nil {
		return nil, err
	}
	lanes := make([]dispatch.Lane, len(found))
	for i, q := range found {
		lanes[i] = dispatch.LaneOf(q.Delivery)
	}
	states, err := s.states(ctx, lanes)
	if err != nil {
		return nil, err
	}
	list := make([]dispatch.Orphan, len(found))
	for i, q := range found {
		list[i] = dispatch.Orphan{Delivery: q.Delivery, Schedule: states[lanes[i]].RetrySchedule, Lease: q.Lease, LeasedAt: q.LeasedAt}
	}
	return list, nil
}
