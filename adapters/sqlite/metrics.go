package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// metricsGroup is the consumer group of the projection of attempts.
const metricsGroup = "metrics"

const (
	metricsOffset = `SELECT coalesce((SELECT position FROM consumer_offsets WHERE consumer_group = '` + metricsGroup + `' AND topic = '` + TopicDeliveries + `'), 0)`
	moveOffset    = `INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES ('` + metricsGroup + `', '` + TopicDeliveries + `', ?2)
		ON CONFLICT (consumer_group, topic) DO UPDATE SET position = ?2 WHERE position = ?1`
	nextAttempts = `SELECT r.position, r.tenant_id, r.stream, r.version, r.type, r.data, r.metadata, r.recorded_at,
		coalesce(o.subscription_id, c.subscription_id, ''), coalesce(o.event_type, c.event_type, '')
		FROM records r
		LEFT JOIN open_deliveries o ON o.tenant_id = r.tenant_id AND o.delivery_id = substr(r.stream, 10)
		LEFT JOIN closed_deliveries c ON c.tenant_id = r.tenant_id AND c.delivery_id = substr(r.stream, 10)
		WHERE r.topic = '` + TopicDeliveries + `' AND r.position > ?1 ORDER BY r.position LIMIT ?2`
	addAttempts = `INSERT INTO attempt_metrics (tenant_id, minute, subscription_id, event_type, outcome, bucket, attempts) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (tenant_id, minute, subscription_id, event_type, outcome, bucket) DO UPDATE SET attempts = attempts + excluded.attempts`
	attemptCells = `SELECT (minute - ?2) / ?4 AS slot, subscription_id, event_type, outcome, bucket, sum(attempts) FROM attempt_metrics
		WHERE tenant_id = ?1 AND minute >= ?2 AND minute < ?3 AND (?5 = '' OR subscription_id = ?5) GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT ?6`
	oldMetrics = `DELETE FROM attempt_metrics WHERE rowid IN (SELECT rowid FROM attempt_metrics WHERE tenant_id = ?1 AND minute < ?2 LIMIT ?3)`
)

// MetricsOffsets has one shard: there is one writer.
func (s *Store) MetricsOffsets(ctx context.Context) ([]int64, error) {
	return all(ctx, s.db, func(r *sql.Rows) (n int64, err error) { return n, r.Scan(&n) }, metricsOffset)
}

// NextAttempts reads records of deliveries; see metrics.Store.
func (s *Store) NextAttempts(ctx context.Context, _ int, after int64, limit int) (attempts []metrics.Attempt, last int64, read int, err error) {
	_, err = all(ctx, s.db, func(r *sql.Rows) (none struct{}, err error) {
		var a metrics.Attempt
		record, err := scanPacked(r, &a.SubscriptionID, &a.EventType)
		if err != nil {
			return none, err
		}
		read, last, a.Tenant = read+1, max(last, record.Position), record.Tenant
		if a.SubscriptionID == "" || !delivery.TellsOfAttempt(record.Type) {
			return none, nil
		}
		if err := record.unpack(); err != nil {
			return none, err
		}
		change, err := delivery.Decode(record.Type, record.Data)
		if err != nil {
			return none, fmt.Errorf("position %d: %w", record.Position, err)
		}
		if a.Of(change) {
			attempts = append(attempts, a)
		}
		return none, nil
	}, nextAttempts, after, limit)
	return attempts, last, read, err
}

// MoveMetricsOffset is false when somebody else has moved it.
func (s *Store) MoveMetricsOffset(ctx context.Context, _ int, from, to int64) (moved bool, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.Exec(ctx, moveOffset, from, to)
		moved = n > 0
		return err
	})
	return moved, err
}

// AddAttempts adds to the counts.
func (s *Store) AddAttempts(ctx context.Context, counts map[metrics.Key]int64) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for k, n := range counts {
			if _, err := tx.Exec(ctx, addAttempts, k.Tenant, k.Minute, k.SubscriptionID, k.EventType, k.Outcome, k.Bucket, n); err != nil {
				return fmt.Errorf("count attempts of %s: %w", k.SubscriptionID, err)
			}
		}
		return nil
	})
}

// AttemptCells sums counts up; see metrics.Reader.
func (s *Store) AttemptCells(ctx context.Context, q metrics.Query, limit int) ([]metrics.Cell, error) {
	return all(ctx, s.db, func(r *sql.Rows) (c metrics.Cell, err error) {
		return c, r.Scan(&c.Slot, &c.SubscriptionID, &c.EventType, &c.Outcome, &c.Bucket, &c.Count)
	}, attemptCells, q.Tenant, minuteOf(q.Since), minuteOf(q.Until), int64(q.Interval/metrics.Grain), q.SubscriptionID, limit)
}

func minuteOf(at time.Time) int64 { return at.Unix() / 60 }
