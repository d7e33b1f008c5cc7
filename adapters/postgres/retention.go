package postgres

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// retentionLock is held by the one process that is deleting, in each of its transactions ("ORDR").
const retentionLock = 0x4F524452

// These walk a tenant's rows by key, oldest first; a delivery's ID tells when it was made. See retention.Passed.
const (
	// oldDeliveries deletes dead letters, and deliveries closed before there were weeks. Their streams go with what it has deleted: one that a
	// retry has just moved was found, and is not.
	oldDeliveries = `WITH found AS (
    SELECT delivery_id FROM closed_deliveries
    WHERE week = 0 AND tenant_id = $1 AND delivery_id > $2 AND delivery_id < $3 AND updated_at < $4 AND (status = 'dead_letter') = $5
    ORDER BY delivery_id LIMIT $6
), old AS (
    DELETE FROM closed_deliveries WHERE week = 0 AND tenant_id = $1 AND delivery_id = ANY (ARRAY(SELECT delivery_id FROM found)) RETURNING delivery_id
), streams AS (
    DELETE FROM records r USING old WHERE r.week = 0 AND r.tenant_id = $1 AND r.stream = 'delivery/' || old.delivery_id AND r.version > 0
) SELECT (SELECT count(*) FROM old), count(*), coalesce(max(delivery_id), '') FROM found`

	oldJobs  = `DELETE FROM jobs WHERE tenant_id = $1 AND job_id < $2 AND turn_at IS NULL`
	oldHours = `DELETE FROM disposition_hours WHERE tenant_id = $1 AND hour < $2`

	// oldRecords deletes poison, and records from before there were weeks.
	oldRecords = `DELETE FROM records WHERE week = 0 AND (topic, position) IN (
    SELECT topic, position FROM records WHERE week = 0 AND topic = $1 AND position < $2 AND recorded_at < $3 ORDER BY position LIMIT $4)`
)

var notDelivered = `NOT EXISTS (SELECT 1 FROM ` + openOfEvent("e.tenant_id", "e.event_id") + `)
    AND NOT EXISTS (SELECT 1 FROM closed_deliveries d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.event_id)`

// oldEvents deletes events that were kept beyond their week, or accepted before there were weeks. One that a retry has just named again comes
// later in the log than it was found.
var oldEvents = `WITH old AS (
    SELECT event_id FROM events e WHERE week = 0 AND tenant_id = $1 AND sequence < $2 AND accepted_at < $3
    AND ` + notDelivered + `
    ORDER BY sequence LIMIT $4
), rendered AS (
    DELETE FROM bodies WHERE week = 0 AND tenant_id = $1 AND event_id = ANY (ARRAY(SELECT event_id FROM old))
), gated AS (
    DELETE FROM gated_events WHERE week = 0 AND tenant_id = $1 AND event_id = ANY (ARRAY(SELECT event_id FROM old))
) DELETE FROM events WHERE week = 0 AND tenant_id = $1 AND sequence < $2 AND event_id = ANY (ARRAY(SELECT event_id FROM old))`

// clockErrs is by how much the server's clock may be ahead of this machine's for it to decide what is old: one of the two is wrong.
const clockErrs = 24 * time.Hour

// checkClock keeps a server whose clock was set wrong from having everything deleted.
func (s *Store) checkClock(now time.Time) error {
	if ahead := now.Sub(s.db.config.Now()); ahead > clockErrs {
		return fmt.Errorf("the database's clock is %s ahead of this machine's: nothing is deleted", ahead.Round(time.Second))
	}
	return nil
}

// Purge deletes what is old; see retention.Store. One process does so at a time.
func (s *Store) Purge(ctx context.Context, before retention.Cutoffs, limit int) (deleted int, err error) {
	if err := s.unlessUsed(ctx, before.Now, func() error { return s.makeWeeks(ctx, before.Now) }); err != nil {
		return 0, err
	}
	if err := s.checkClock(before.Now); err != nil {
		return 0, err
	}
	tenants, err := all(ctx, s.db.from(ctx), value[tenant.ID], `SELECT tenant_id FROM tenants`)
	if err != nil {
		return 0, err
	}
	handled, err := s.handled(ctx)
	if err != nil {
		return 0, err
	}
	s.closed.Begin(before.Now)
	look := func(owners []tenant.ID) ([]tenant.ID, error) { return s.haveOld(ctx, owners, before) }
	deleted, err = s.round.Go(tenants, limit, look, func(owner tenant.ID, limit int) (int, error) {
		return s.purgeTenant(ctx, owner, before, handled, limit)
	})
	if err != nil || deleted >= limit {
		return deleted, err
	}
	n, err := s.purgeRecords(ctx, before.Events, handled, limit)
	if deleted += n; err != nil {
		return deleted, err
	}
	// Whatever is left of an old week's deliveries is to be kept, or has grown old in this round. With enough tenants each round finds something
	// to delete, and a week does not wait for one that does not.
	dropped := 0
	err = s.unlessUsed(ctx, before.Now, func() (err error) { dropped, err = s.dropWeek(ctx, before, tenants); return err })
	return deleted + dropped, err
}

// handledByFanOut is the position up to which fan-out has handled the log.
const handledByFanOut = `coalesce((SELECT position FROM consumer_offsets WHERE consumer_group = '` + fanout.Group + `' AND topic = '` + records.TopicEvents + `'), 0)`

func (s *Store) handled(ctx context.Context) (int64, error) {
	return one(ctx, s.db.from(ctx), value[int64], `SELECT `+handledByFanOut)
}

// leading runs fn in a transaction unless another process is deleting right now. Then it is false, also when fn has run in a transaction
// that collided and was not repeated therefore: what fn computed holds only if it is true.
func (s *Store) leading(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) (led bool, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) (err error) {
		led, err = one(ctx, tx, value[bool], `SELECT pg_try_advisory_xact_lock($1::bigint)`, retentionLock)
		if err != nil || !led {
			return err
		}
		return fn(ctx, tx)
	})
	return led && err == nil, err
}

func (s *Store) purgeTenant(ctx context.Context, owner tenant.ID, before retention.Cutoffs, handled int64, limit int) (deleted int, err error) {
	var reached retention.Reached
	led, err := s.leading(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, oldHours, owner, stamp(before.Counted())); err != nil {
			return err
		}
		deliveries, upTo, err := s.purgeDeliveries(ctx, tx, owner, before, limit)
		if err != nil {
			return err
		}
		reached = upTo
		fannedOut, err := one(ctx, tx, value[int64], beforeDeferred, owner, (handled+1)*records.MaxEventsPerRecord)
		if err != nil {
			return err
		}
		// A replay holds it from before it reads events until their new deliveries are there to be seen by what comes after it.
		lock := &pgx.Batch{}
		lock.Queue(lockBodies, bodiesClass, allTenants)
		if err := tx.writeLater(ctx, lock); err != nil {
			return err
		}
		events, err := tx.Exec(ctx, oldEvents, owner, fannedOut, stamp(before.Events), int64(limit)-deliveries)
		if err != nil {
			return err
		}
		finished, err := tx.Exec(ctx, oldJobs, owner, ids.First("job_", before.Attempts))
		if err != nil {
			return err
		}
		counted, err := tx.Exec(ctx, oldMetrics, owner, metrics.MinuteOf(before.Attempts), limit)
		deleted = int(deliveries + events + finished + counted)
		return err
	})
	if !led {
		return 0, err
	}
	s.closed.Note(reached)
	return deleted, nil
}

// purgeDeliveries deletes a tenant's old deliveries of week 0, and tells how far it has looked for them.
func (s *Store) purgeDeliveries(ctx context.Context, tx *Tx, owner tenant.ID, before retention.Cutoffs, limit int) (deleted int64, reached retention.Reached, err error) {
	reached, err = s.closed.Walk(owner, before, limit, ids.FirstDelivery, func(l retention.Look) (found int, last string, err error) {
		err = writer{tx}.query(ctx, func(r pgx.Rows) error {
			var gone int64
			err := r.Scan(&gone, &found, &last)
			deleted += gone
			return err
		}, oldDeliveries, owner, l.Behind, l.Below, stamp(l.Before), l.Dead, l.Limit)
		return found, last, err
	})
	return deleted, reached, err
}

// purgeRecords deletes old records that belong to no stream.
func (s *Store) purgeRecords(ctx context.Context, before time.Time, handled int64, limit int) (deleted int, err error) {
	led, err := s.leading(ctx, func(ctx context.Context, tx *Tx) error {
		deleted = 0
		purge := func(topic string, upTo int64) error {
			n, err := tx.Exec(ctx, oldRecords, topic, upTo, stamp(before), limit)
			deleted += int(n)
			return err
		}
		if err := purge(records.TopicEvents, handled); err != nil {
			return fmt.Errorf("purge accepted events: %w", err)
		}
		if err := purge(records.TopicTests, handled); err != nil {
			return fmt.Errorf("purge tests: %w", err)
		}
		if err := purge(records.TopicPoison, math.MaxInt64); err != nil { // nobody consumes it
			return fmt.Errorf("purge poison: %w", err)
		}
		return nil
	})
	if !led {
		return 0, err
	}
	return deleted, nil
}
