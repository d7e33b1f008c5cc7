package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// metricsGroup is the consumer group of the projection of attempts.
const metricsGroup = "metrics"

const (
	metricsOffsets = `SELECT coalesce(o.position, 0) FROM unnest($1::text[]) WITH ORDINALITY AS t (topic, shard)
LEFT JOIN consumer_offsets o ON o.consumer_group = '` + metricsGroup + `' AND o.topic = t.topic ORDER BY t.shard`
	moveOffset = `INSERT INTO consumer_offsets AS o (consumer_group, topic, position) VALUES ('` + metricsGroup + `', $1, $3)
ON CONFLICT (consumer_group, topic) DO UPDATE SET position = $3 WHERE o.position = $2`
	nextAttempts = `SELECT r.position, r.tenant_id, r.stream, r.version, r.type, r.data, r.metadata, r.recorded_at,
    coalesce(o.subscription_id, c.subscription_id, ''), coalesce(o.event_type, c.event_type, '')
FROM (SELECT * FROM records WHERE topic = $1 AND position > $2 ORDER BY position LIMIT $3) AS r
LEFT JOIN LATERAL (SELECT subscription_id, event_type FROM open_deliveries WHERE tenant_id = r.tenant_id AND delivery_id = substr(r.stream, 10)) AS o ON true
LEFT JOIN LATERAL (SELECT subscription_id, event_type FROM closed_deliveries WHERE tenant_id = r.tenant_id AND delivery_id = substr(r.stream, 10) LIMIT 1) AS c ON true`
	addAttempts = `INSERT INTO attempt_metrics AS m (tenant_id, minute, subscription_id, event_type, outcome, bucket, attempts)
SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::int[], $7::bigint[])
ON CONFLICT (tenant_id, minute, subscription_id, event_type, outcome, bucket) DO UPDATE SET attempts = m.attempts + excluded.attempts`
	attemptCells = `SELECT (minute - $2) / $4 AS slot, subscription_id, event_type, outcome, bucket, sum(attempts)::bigint FROM attempt_metrics
WHERE tenant_id = $1 AND minute >= $2 AND minute < $3 AND ($5 = '' OR subscription_id = $5) GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5 LIMIT $6`
	oldMetrics = `DELETE FROM attempt_metrics WHERE ctid = ANY (ARRAY(SELECT ctid FROM attempt_metrics WHERE tenant_id = $1 AND minute < $2 LIMIT $3))`
)

// MetricsOffsets is how far each shard is counted.
func (s *Store) MetricsOffsets(ctx context.Context) ([]int64, error) {
	topics, err := s.deliveryTopics(ctx)
	if err != nil {
		return nil, err
	}
	return all(ctx, s.db.from(ctx), func(r pgx.Rows) (n int64, err error) { return n, r.Scan(&n) }, metricsOffsets, topics)
}

// NextAttempts reads records of deliveries; see metrics.Store.
func (s *Store) NextAttempts(ctx context.Context, shard int, after int64, limit int) (attempts []metrics.Attempt, last int64, read int, err error) {
	topics, err := s.deliveryTopics(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	err = s.db.from(ctx).query(ctx, func(r pgx.Rows) error {
		var a metrics.Attempt
		record, err := scanPacked(r, &a.SubscriptionID, &a.EventType)
		if err != nil {
			return err
		}
		read, last, a.Tenant = read+1, max(last, record.Position), record.Tenant
		if a.SubscriptionID == "" || !delivery.TellsOfAttempt(record.Type) {
			return nil
		}
		if err := record.unpack(); err != nil {
			return err
		}
		change, err := delivery.Decode(record.Type, record.Data)
		if err != nil {
			return fmt.Errorf("position %d: %w", record.Position, err)
		}
		if a.Of(change) {
			attempts = append(attempts, a)
		}
		return nil
	}, nextAttempts, topics[shard], after, limit)
	return attempts, last, read, err
}

// MoveMetricsOffset is false when somebody else has moved it.
func (s *Store) MoveMetricsOffset(ctx context.Context, shard int, from, to int64) (moved bool, err error) {
	topics, err := s.deliveryTopics(ctx)
	if err != nil {
		return false, err
	}
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		n, err := tx.Exec(ctx, moveOffset, topics[shard], from, to)
		moved = n > 0
		return err
	})
	return moved, err
}

// AddAttempts adds to the counts.
func (s *Store) AddAttempts(ctx context.Context, counts map[metrics.Key]int64) error {
	var tenants, subs, types, outcomes []string
	var minutes, numbers []int64
	var buckets []int32
	for k, n := range counts {
		tenants, subs, types, outcomes = append(tenants, string(k.Tenant)), append(subs, k.SubscriptionID), append(types, string(k.EventType)), append(outcomes, string(k.Outcome))
		minutes, buckets, numbers = append(minutes, k.Minute), append(buckets, int32(k.Bucket)), append(numbers, n)
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, addAttempts, tenants, minutes, subs, types, outcomes, buckets, numbers)
		return err
	})
}

// AttemptCells sums counts up; see metrics.Reader.
func (s *Store) AttemptCells(ctx context.Context, q metrics.Query, limit int) ([]metrics.Cell, error) {
	return all(ctx, s.db.forUsers(ctx), func(r pgx.Rows) (c metrics.Cell, err error) {
		return c, r.Scan(&c.Slot, &c.SubscriptionID, &c.EventType, &c.Outcome, &c.Bucket, &c.Count)
	}, attemptCells, q.Tenant, minuteOf(q.Since), minuteOf(q.Until), int64(q.Interval/metrics.Grain), q.SubscriptionID, limit)
}

func minuteOf(at time.Time) int64 { return at.Unix() / 60 }
