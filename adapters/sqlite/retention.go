package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Both walk a tenant's rows by their keys, oldest first; a delivery's ID says when it was made.
const (
	oldDeliveries = `SELECT delivery_id FROM closed_deliveries
		WHERE tenant_id = ? AND delivery_id < ? AND updated_at < CASE status WHEN 'dead_letter' THEN ? ELSE ? END
		ORDER BY delivery_id LIMIT ?`
	oldEvents = `SELECT event_id FROM events e WHERE tenant_id = ?1 AND sequence < ` + fannedOut + ` AND accepted_at < ?2
		AND NOT EXISTS (SELECT 1 FROM open_deliveries d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.event_id)
		AND NOT EXISTS (SELECT 1 FROM closed_deliveries d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.event_id)
		ORDER BY sequence LIMIT ?3`
	oldJobs    = `DELETE FROM jobs WHERE tenant_id = ? AND job_id < ? AND turn_at IS NULL`
	oldRecords = `DELETE FROM records WHERE position IN (
		SELECT position FROM records WHERE topic = ? AND position < ? AND recorded_at < ? ORDER BY position LIMIT ?)`
)

// Purge deletes what is old; see retention.Store.
func (s *Store) Purge(ctx context.Context, before retention.Cutoffs, limit int) (deleted int, err error) {
	tenants, err := all(ctx, s.db, func(r *sql.Rows) (id tenant.ID, err error) { return id, r.Scan(&id) }, `SELECT tenant_id FROM tenants`)
	if err != nil {
		return 0, err
	}
	handled, err := one(ctx, s.db, func(r *sql.Rows) (n int64, err error) { return n, r.Scan(&n) },
		`SELECT coalesce(max(position), 0) FROM consumer_offsets WHERE consumer_group = ? AND topic = ?`, fanout.Group, records.TopicEvents)
	if err != nil {
		return 0, err
	}
	for _, owner := range tenants {
		if deleted >= limit {
			return deleted, nil
		}
		n, err := s.purgeTenant(ctx, owner, before, limit-deleted)
		if err != nil {
			return deleted, fmt.Errorf("purge tenant %s: %w", owner, err)
		}
		deleted += n
	}
	n, err := s.purgeRecords(ctx, before.Events, handled, limit)
	return deleted + n, err
}

func (s *Store) purgeTenant(ctx context.Context, owner tenant.ID, before retention.Cutoffs, limit int) (deleted int, err error) {
	scanID := func(r *sql.Rows) (id string, err error) { return id, r.Scan(&id) }
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, `DELETE FROM disposition_hours WHERE tenant_id = ? AND hour < ?`, owner, stamp(before.Counted())); err != nil {
			return err
		}
		newest := before.Attempts
		if before.DeadLetters.After(newest) {
			newest = before.DeadLetters
		}
		deliveries, err := all(ctx, s.db, scanID, oldDeliveries, owner, firstID("dlv_", newest), stamp(before.DeadLetters), stamp(before.Attempts), limit)
		if err != nil {
			return err
		}
		for _, id := range deliveries {
			if err := tx.execAll(ctx, []any{owner, id},
				`DELETE FROM records WHERE tenant_id = ?1 AND stream = 'delivery/' || ?2 AND version > 0`,
				`DELETE FROM closed_deliveries WHERE tenant_id = ?1 AND delivery_id = ?2`); err != nil {
				return err
			}
		}
		events, err := all(ctx, s.db, scanID, oldEvents, owner, stamp(before.Events), limit-len(deliveries))
		if err != nil {
			return err
		}
		for _, id := range events {
			if err := tx.execAll(ctx, []any{owner, id},
				`DELETE FROM bodies WHERE tenant_id = ?1 AND event_id = ?2`,
				`DELETE FROM gated_events WHERE tenant_id = ?1 AND event_id = ?2`,
				`DELETE FROM events WHERE tenant_id = ?1 AND event_id = ?2`); err != nil {
				return err
			}
		}
		finished, err := tx.Exec(ctx, oldJobs, owner, firstID("job_", before.Attempts))
		if err != nil {
			return err
		}
		counted, err := tx.Exec(ctx, oldMetrics, owner, minuteOf(before.Attempts), limit)
		if err != nil {
			return err
		}
		deleted = len(deliveries) + len(events) + int(finished+counted)
		return nil
	})
	return deleted, err
}

// purgeRecords deletes old records that belong to no stream.
func (s *Store) purgeRecords(ctx context.Context, before time.Time, handled int64, limit int) (deleted int, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for _, of := range []struct {
			topic string
			upTo  int64
		}{{records.TopicEvents, handled}, {records.TopicTests, handled}, {records.TopicPoison, math.MaxInt64}} { // nobody consumes poison
			n, err := tx.Exec(ctx, oldRecords, of.topic, of.upTo, stamp(before), limit)
			if err != nil {
				return fmt.Errorf("purge topic %s: %w", of.topic, err)
			}
			deleted += int(n)
		}
		return nil
	})
	return deleted, err
}

func (tx *Tx) execAll(ctx context.Context, args []any, queries ...string) error {
	for _, query := range queries {
		if _, err := tx.Exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}

// firstID is the first ID that could have been made at the time.
func firstID(prefix string, at time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(max(0, at.UnixMilli())))
	return prefix + id.String()
}
