package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/delivery"
)

const (
	liveMetrics   = `(SELECT live FROM projections WHERE name = 'metrics')`
	newestMetrics = `(SELECT newest FROM projections WHERE name = 'metrics')`

	metricsOffset = `SELECT generation, coalesce((SELECT position FROM consumer_offsets WHERE consumer_group = 'metrics/' || generation AND topic = '` + records.TopicDeliveries + `'), 0)
		FROM (SELECT iif(?1 = 0, live, ?1) AS generation FROM projections WHERE name = 'metrics') AS asked`
	moveOffset = `INSERT INTO consumer_offsets (consumer_group, topic, position)
		SELECT 'metrics/' || ?1, '` + records.TopicDeliveries + `', ?3 FROM projections WHERE name = 'metrics' AND ?1 IN (live, newest)
		ON CONFLICT (consumer_group, topic) DO UPDATE SET position = ?3 WHERE position = ?2`
	beginGeneration = `UPDATE projections SET newest = newest + 1 WHERE name = 'metrics'`
	goLive          = `UPDATE projections SET live = ?1 WHERE name = 'metrics' AND newest = ?1 AND NOT EXISTS (
		SELECT 1 FROM consumer_offsets old LEFT JOIN consumer_offsets new ON new.consumer_group = 'metrics/' || ?1 AND new.topic = old.topic
		WHERE old.consumer_group = 'metrics/' || projections.live AND old.position > coalesce(new.position, 0))`
	// dropOffsets deletes the offsets of generations that are neither live nor newest.
	dropOffsets = `DELETE FROM consumer_offsets WHERE consumer_group >= 'metrics/' AND consumer_group < 'metrics0'
		AND consumer_group NOT IN ('metrics/' || ` + liveMetrics + `, 'metrics/' || ` + newestMetrics + `)`
	// nextRecords counts the next records and finds the position of the last.
	nextRecords = `SELECT count(*), coalesce(max(position), 0) FROM (
		SELECT position FROM records WHERE topic = '` + records.TopicDeliveries + `' AND position > ?1 ORDER BY position LIMIT ?2) AS next`
	recordedAttempts = `SELECT r.position, r.tenant_id, r.stream, r.version, r.type, r.data, r.metadata, r.recorded_at,
		coalesce(c.subscription_id, o.subscription_id), coalesce(c.event_type, o.event_type)
		FROM records r
		LEFT JOIN closed_deliveries c ON c.tenant_id = r.tenant_id AND c.delivery_id = substr(r.stream, 10)
		LEFT JOIN open_deliveries o ON c.delivery_id IS NULL AND o.tenant_id = r.tenant_id AND o.delivery_id = substr(r.stream, 10)
		WHERE r.topic = '` + records.TopicDeliveries + `' AND r.position > ?1 AND r.position <= ?2 AND r.type IN (SELECT value FROM json_each(?3))
		AND (c.delivery_id IS NOT NULL OR o.delivery_id IS NOT NULL) ORDER BY r.position`
	addAttempts = `INSERT INTO attempt_metrics (tenant_id, generation, minute, subscription_id, event_type, outcome, bucket, attempts) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, generation, minute, subscription_id, event_type, outcome, bucket) DO UPDATE SET attempts = attempts + excluded.attempts`
	attemptCells = `SELECT (minute - ?2) / ?4 AS slot, CASE WHEN ?7 THEN '' ELSE subscription_id END, CASE WHEN ?8 THEN '' ELSE event_type END,
		CASE WHEN ?9 THEN '' ELSE outcome END, bucket, sum(attempts) FROM attempt_metrics
		WHERE tenant_id = ?1 AND generation = ` + liveMetrics + ` AND minute >= ?2 AND minute < ?3 AND (?5 = '' OR subscription_id = ?5) GROUP BY 1, 2, 3, 4, 5 LIMIT ?6`
	// oldMetrics finds old counts, and those of generations that are neither live nor newest.
	oldMetrics = `SELECT rowid FROM attempt_metrics WHERE tenant_id = ?1 AND generation = ` + liveMetrics + ` AND minute < ?2
		UNION ALL SELECT rowid FROM attempt_metrics WHERE tenant_id = ?1 AND generation = ` + newestMetrics + ` AND minute < ?2
		UNION ALL SELECT rowid FROM attempt_metrics WHERE tenant_id = ?1 AND generation < ` + liveMetrics + `
		UNION ALL SELECT rowid FROM attempt_metrics WHERE tenant_id = ?1 AND generation > ` + liveMetrics + ` AND generation < ` + newestMetrics + ` LIMIT ?3`
)

// MetricsOffset is how far the log is counted in a generation; see metrics.Store.
func (s *Store) MetricsOffset(ctx context.Context, of metrics.Generation) (g metrics.Generation, offset int64, err error) {
	offset, err = one(ctx, s.db, func(r *sql.Rows) (n int64, err error) { return n, r.Scan(&g, &n) }, metricsOffset, of)
	return g, offset, err
}

// NextAttempts reads records of deliveries; see metrics.Store.
func (s *Store) NextAttempts(ctx context.Context, after int64, limit int) (attempts []metrics.Attempt, last int64, read int, err error) {
	types, err := list(delivery.EndTypes())
	if err != nil {
		return nil, 0, 0, err
	}
	_, err = one(ctx, s.db, func(r *sql.Rows) (none struct{}, err error) { return none, r.Scan(&read, &last) }, nextRecords, after, limit)
	if err != nil || read == 0 {
		return nil, 0, 0, err
	}
	attempts, err = all(ctx, s.db, scanAttempt, recordedAttempts, after, last, types)
	return slices.DeleteFunc(attempts, damaged), last, read, err
}

// scanAttempt leaves the end empty if the record is damaged: the attempt is not counted, but others still are.
func scanAttempt(r *sql.Rows) (a metrics.Attempt, err error) {
	record, err := scanRecordWith(r, &a.SubscriptionID, &a.EventType)
	if err != nil {
		return a, err
	}
	a.Tenant = record.Tenant
	a.End = record.AttemptEnd()
	return a, nil
}

func damaged(a metrics.Attempt) bool { return a.At.IsZero() }

// MoveMetricsOffset moves a generation's offset; see metrics.Store.
func (s *Store) MoveMetricsOffset(ctx context.Context, of metrics.Generation, from, to int64) (moved bool, err error) {
	n, err := s.change(ctx, moveOffset, of, from, to)
	return n > 0, err
}

// AddAttempts adds to the counts.
func (s *Store) AddAttempts(ctx context.Context, to metrics.Generation, counts map[metrics.Key]int64) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for k, n := range counts {
			if _, err := tx.Exec(ctx, addAttempts, k.Tenant, to, k.Minute, k.SubscriptionID, k.EventType, k.Outcome, k.Bucket, n); err != nil {
				return fmt.Errorf("count attempts of %s: %w", k.SubscriptionID, err)
			}
		}
		return nil
	})
}

// BeginGeneration begins a new generation beside the live one; see metrics.RebuildStore.
func (s *Store) BeginGeneration(ctx context.Context) (begun metrics.Generation, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if err := tx.execAll(ctx, nil, beginGeneration, dropOffsets); err != nil {
			return err
		}
		_, begun, err = s.generations(ctx)
		return err
	})
	return begun, err
}

// GoLive makes the generation live once it has counted as far as the live one; see metrics.RebuildStore.
func (s *Store) GoLive(ctx context.Context, g metrics.Generation) (is bool, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, goLive, g); err != nil {
			return err
		}
		live, newest, err := s.generations(ctx)
		if err == nil && newest != g {
			err = metrics.ErrSuperseded
		}
		if is = live == g; is && err == nil {
			err = tx.execAll(ctx, nil, dropOffsets)
		}
		return err
	})
	return is, err
}

func (s *Store) generations(ctx context.Context) (live, newest metrics.Generation, err error) {
	_, err = one(ctx, s.db, func(r *sql.Rows) (none struct{}, err error) { return none, r.Scan(&live, &newest) }, `SELECT live, newest FROM projections WHERE name = 'metrics'`)
	return live, newest, err
}

// AttemptCells sums up counts; see metrics.Reader.
func (s *Store) AttemptCells(ctx context.Context, q metrics.Query, limit int) ([]metrics.Cell, error) {
	return all(ctx, s.db.forUsers(), func(r *sql.Rows) (c metrics.Cell, err error) {
		return c, r.Scan(&c.Slot, &c.SubscriptionID, &c.EventType, &c.Outcome, &c.Bucket, &c.Count)
	}, attemptCells, q.Tenant, metrics.MinuteOf(q.Since), metrics.MinuteOf(q.Until), int64(q.Interval/metrics.Grain), q.SubscriptionID, limit,
		q.Together.Subscriptions, q.Together.Types, q.Together.Outcomes)
}
