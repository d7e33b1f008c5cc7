package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	liveMetrics   = `(SELECT live FROM projections WHERE name = 'metrics')`
	newestMetrics = `(SELECT newest FROM projections WHERE name = 'metrics')`

	metricsOffset = `SELECT asked.generation, coalesce(o.position, 0)
FROM (SELECT CASE $1::bigint WHEN 0 THEN live ELSE $1::bigint END AS generation FROM projections WHERE name = 'metrics') AS asked
LEFT JOIN consumer_offsets o ON o.consumer_group = 'metrics/' || asked.generation AND o.topic = $2`
	moveOffset = `INSERT INTO consumer_offsets AS o (consumer_group, topic, position)
SELECT 'metrics/' || $1::bigint, $2, $4::bigint FROM projections WHERE name = 'metrics' AND $1::bigint IN (live, newest)
ON CONFLICT (consumer_group, topic) DO UPDATE SET position = excluded.position WHERE o.position = $3`
	beginGeneration = `UPDATE projections SET newest = newest + 1 WHERE name = 'metrics' RETURNING newest`
	goLive          = `UPDATE projections p SET live = $1::bigint WHERE p.name = 'metrics' AND p.newest = $1::bigint AND NOT EXISTS (
    SELECT 1 FROM consumer_offsets old LEFT JOIN consumer_offsets new ON new.consumer_group = 'metrics/' || $1::bigint AND new.topic = old.topic
    WHERE old.consumer_group = 'metrics/' || p.live AND old.position > coalesce(new.position, 0))`
	// dropOffsets deletes the offsets of generations that are left over.
	dropOffsets = `DELETE FROM consumer_offsets WHERE consumer_group >= 'metrics/' AND consumer_group < 'metrics0'
AND consumer_group NOT IN ('metrics/' || ` + liveMetrics + `, 'metrics/' || ` + newestMetrics + `)`
	// nextRecords is how many records come next, and the position of the last.
	nextRecords = `SELECT count(*), coalesce(max(position), 0) FROM (
    SELECT position FROM records WHERE topic = $1 AND position > $2 ORDER BY position LIMIT $3) AS next`
	// recordedAttempts looks for the delivery first where it is if this was its last attempt, and then everywhere.
	recordedAttempts = `SELECT r.position, r.tenant_id, r.stream, r.version, r.type, r.data, r.metadata, r.recorded_at, d.subscription_id, d.event_type
FROM (SELECT * FROM records WHERE topic = $1 AND position > $2 AND position <= $3 AND type = ANY ($4) ORDER BY position) AS r
CROSS JOIN LATERAL (
    SELECT subscription_id, event_type FROM closed_deliveries WHERE week = r.recorded_at / ` + weekMicros + ` AND tenant_id = r.tenant_id AND delivery_id = substr(r.stream, 10)
    UNION ALL SELECT subscription_id, event_type FROM open_deliveries WHERE tenant_id = r.tenant_id AND delivery_id = substr(r.stream, 10)
    UNION ALL SELECT subscription_id, event_type FROM closed_deliveries WHERE tenant_id = r.tenant_id AND delivery_id = substr(r.stream, 10) LIMIT 1) AS d`
	addAttempts = `INSERT INTO attempt_metrics AS m (generation, tenant_id, minute, subscription_id, event_type, outcome, bucket, attempts)
SELECT $1::bigint, * FROM unnest($2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::int[], $8::bigint[])
ON CONFLICT (tenant_id, generation, minute, subscription_id, event_type, outcome, bucket) DO UPDATE SET attempts = m.attempts + excluded.attempts`
	attemptCells = `SELECT (minute - $2) / $4 AS slot, CASE WHEN $7 THEN '' ELSE subscription_id END, CASE WHEN $8 THEN '' ELSE event_type END,
	CASE WHEN $9 THEN '' ELSE outcome END, bucket, sum(attempts)::bigint FROM attempt_metrics
WHERE tenant_id = $1 AND generation = ` + liveMetrics + ` AND minute >= $2 AND minute < $3 AND ($5 = '' OR subscription_id = $5) GROUP BY 1, 2, 3, 4, 5 LIMIT $6`
	// oldMetrics deletes old counts, and those of generations that are left over.
	oldMetrics = `DELETE FROM attempt_metrics WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM attempt_metrics WHERE tenant_id = $1 AND generation = ` + liveMetrics + ` AND minute < $2
    UNION ALL SELECT ctid FROM attempt_metrics WHERE tenant_id = $1 AND generation = ` + newestMetrics + ` AND minute < $2
    UNION ALL SELECT ctid FROM attempt_metrics WHERE tenant_id = $1 AND generation < ` + liveMetrics + `
    UNION ALL SELECT ctid FROM attempt_metrics WHERE tenant_id = $1 AND generation > ` + liveMetrics + ` AND generation < ` + newestMetrics + ` LIMIT $3))`
)

// MetricsOffset is how far the log is counted in a generation; see metrics.Store.
func (s *Store) MetricsOffset(ctx context.Context, of metrics.Generation) (g metrics.Generation, offset int64, err error) {
	offset, err = one(ctx, s.db.from(ctx), func(r pgx.Rows) (n int64, err error) { return n, r.Scan(&g, &n) }, metricsOffset, of, records.TopicDeliveries)
	return g, offset, err
}

// NextAttempts reads records of deliveries; see metrics.Store.
func (s *Store) NextAttempts(ctx context.Context, after int64, limit int) (attempts []metrics.Attempt, last int64, read int, err error) {
	from := s.db.from(ctx)
	_, err = one(ctx, from, func(r pgx.Rows) (none struct{}, err error) { return none, r.Scan(&read, &last) }, nextRecords, records.TopicDeliveries, after, limit)
	if err != nil || read == 0 {
		return nil, 0, 0, err
	}
	attempts, err = all(ctx, from, attemptRows(), recordedAttempts, records.TopicDeliveries, after, last, delivery.EndTypes())
	return slices.DeleteFunc(attempts, damaged), last, read, err
}

// attemptRows leaves out the end of an attempt whose record is damaged: it is not counted, and does not stop the others.
func attemptRows() func(pgx.Rows) (metrics.Attempt, error) {
	var owner, kind, subscription, eventType repeated
	var r records.Record
	var data, metadata pgtype.DriverBytes
	var at int64
	places := []any{&r.Position, &owner, &r.Stream, &r.Version, &kind, &data, &metadata, &at, &subscription, &eventType}
	return func(rows pgx.Rows) (a metrics.Attempt, err error) {
		if err := rows.Scan(places...); err != nil {
			return a, err
		}
		r.Tenant, r.Type, r.Data, r.Metadata, r.At = tenant.ID(owner), string(kind), data, metadata, moment(&at)
		a.Tenant, a.SubscriptionID, a.EventType = r.Tenant, string(subscription), event.Type(eventType)
		a.End = r.AttemptEnd()
		return a, nil
	}
}

func damaged(a metrics.Attempt) bool { return a.At.IsZero() }

// MoveMetricsOffset moves a generation's offset; see metrics.Store.
func (s *Store) MoveMetricsOffset(ctx context.Context, of metrics.Generation, from, to int64) (moved bool, err error) {
	n, err := s.change(ctx, moveOffset, of, records.TopicDeliveries, from, to)
	return n > 0, err
}

// AddAttempts adds to the counts.
func (s *Store) AddAttempts(ctx context.Context, to metrics.Generation, counts map[metrics.Key]int64) error {
	var tenants, subs, types, outcomes []string
	var minutes, numbers []int64
	var buckets []int32
	for k, n := range counts {
		tenants, subs, types, outcomes = append(tenants, string(k.Tenant)), append(subs, k.SubscriptionID), append(types, string(k.EventType)), append(outcomes, string(k.Outcome))
		minutes, buckets, numbers = append(minutes, k.Minute), append(buckets, int32(k.Bucket)), append(numbers, n)
	}
	_, err := s.change(ctx, addAttempts, to, tenants, minutes, subs, types, outcomes, buckets, numbers)
	return err
}

// BeginGeneration makes a new one beside the live one; see metrics.RebuildStore.
func (s *Store) BeginGeneration(ctx context.Context) (begun metrics.Generation, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		begun, err = one(ctx, writer{tx}, value[metrics.Generation], beginGeneration)
		if err == nil {
			_, err = tx.Exec(ctx, dropOffsets)
		}
		return err
	})
	return begun, err
}

// GoLive makes the generation live once it is counted as far as the live one; see metrics.RebuildStore.
func (s *Store) GoLive(ctx context.Context, g metrics.Generation) (is bool, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := tx.Exec(ctx, goLive, g); err != nil {
			return err
		}
		live, newest, err := generations(ctx, tx)
		if err == nil && newest != g {
			err = metrics.ErrSuperseded
		}
		if is = live == g; is && err == nil {
			_, err = tx.Exec(ctx, dropOffsets)
		}
		return err
	})
	return is, err
}

func generations(ctx context.Context, from reader) (live, newest metrics.Generation, err error) {
	_, err = one(ctx, from, func(r pgx.Rows) (none struct{}, err error) { return none, r.Scan(&live, &newest) }, `SELECT live, newest FROM projections WHERE name = 'metrics'`)
	return live, newest, err
}

// AttemptCells sums counts up; see metrics.Reader.
func (s *Store) AttemptCells(ctx context.Context, q metrics.Query, limit int) ([]metrics.Cell, error) {
	return all(ctx, s.db.forUsers(ctx), func(r pgx.Rows) (c metrics.Cell, err error) {
		return c, r.Scan(&c.Slot, &c.SubscriptionID, &c.EventType, &c.Outcome, &c.Bucket, &c.Count)
	}, attemptCells, q.Tenant, metrics.MinuteOf(q.Since), metrics.MinuteOf(q.Until), int64(q.Interval/metrics.Grain), q.SubscriptionID, limit,
		q.Together.Subscriptions, q.Together.Types, q.Together.Outcomes)
}
