package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	deliveryHeads = `SELECT coalesce(head.position, 0) FROM unnest($1::text[]) WITH ORDINALITY AS t (topic, shard)
LEFT JOIN LATERAL (SELECT position FROM records WHERE topic = t.topic ORDER BY position DESC LIMIT 1) AS head ON true ORDER BY t.shard`

	deliveryRecords = `SELECT r.position, r.tenant_id, r.stream, r.version FROM unnest($1::text[], $2::bigint[]) AS t (topic, after)
CROSS JOIN LATERAL (SELECT position, tenant_id, stream, version FROM records
    WHERE topic = t.topic AND position > t.after ORDER BY position LIMIT $3) AS r`

	tenantRecords = `SELECT position, tenant_id, stream, version FROM records
WHERE topic = $1 AND position > $2 AND position <= $3 AND tenant_id = $4 ORDER BY position`

	deliveryStreams = `SELECT r.* FROM unnest($1::text[], $2::text[], $3::bigint[]) AS k (tenant_id, stream, version)
CROSS JOIN LATERAL (SELECT ` + recordColumns + ` FROM records
    WHERE tenant_id = k.tenant_id AND stream = k.stream AND version > 0 AND version <= k.version) AS r`

	endedKeys = `SELECT key_id FROM api_keys WHERE key_id = ANY($1::text[]) AND (revoked_at IS NOT NULL OR expires_at <= $2)`
)

func scanLive(r pgx.Rows) (l live.Record, err error) {
	err = r.Scan(&l.Position, &l.Tenant, &l.DeliveryID, &l.Version)
	l.DeliveryID = records.DeliveryOf(l.DeliveryID)
	return l, err
}

// deliveryTopics names the shards of the topic, in their order.
func (s *Store) deliveryTopics(ctx context.Context) ([]string, error) {
	shards, err := s.db.Shards(ctx)
	topics := make([]string, shards)
	for shard := range topics {
		topics[shard] = ShardTopic(records.TopicDeliveries, shard, shards)
	}
	return topics, err
}

// DeliveryHeads is the newest position of each shard.
func (s *Store) DeliveryHeads(ctx context.Context) (live.Positions, error) {
	topics, err := s.deliveryTopics(ctx)
	if err != nil {
		return nil, err
	}
	return all(ctx, s.db.from(ctx), func(r pgx.Rows) (n int64, err error) { return n, r.Scan(&n) }, deliveryHeads, topics)
}

// DeliveryShard is where all records of the tenant's deliveries are.
func (s *Store) DeliveryShard(ctx context.Context, owner tenant.ID) (int, error) {
	shards, err := s.db.Shards(ctx)
	if err != nil {
		return 0, err
	}
	return shardOf(owner, shards), nil
}

// DeliveryRecords lists records of each shard beyond the positions, oldest first in each.
func (s *Store) DeliveryRecords(ctx context.Context, after live.Positions, limit int) ([]live.Record, error) {
	topics, err := s.deliveryTopics(ctx)
	if err != nil {
		return nil, err
	}
	return all(ctx, s.db.from(ctx), scanLive, deliveryRecords, topics, []int64(after), limit)
}

// TenantDeliveryRecords lists the tenant's records between two positions, oldest first.
func (s *Store) TenantDeliveryRecords(ctx context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error) {
	shards, err := s.db.Shards(ctx)
	if err != nil {
		return nil, err
	}
	topic := ShardTopic(records.TopicDeliveries, shardOf(owner, shards), shards)
	return all(ctx, s.db.from(ctx), scanLive, tenantRecords, topic, after, upTo, owner)
}

// DeliveryStreams reads the changes of deliveries, each up to a version.
func (s *Store) DeliveryStreams(ctx context.Context, upTo map[live.Key]int64) (map[live.Key][]delivery.Change, error) {
	tenants, names, versions := make([]string, 0, len(upTo)), make([]string, 0, len(upTo)), make([]int64, 0, len(upTo))
	for key, version := range upTo {
		tenants, names, versions = append(tenants, string(key.Tenant)), append(names, records.DeliveryStream(key.DeliveryID)), append(versions, version)
	}
	streams, err := all(ctx, s.db.from(ctx), scanRecord, deliveryStreams, tenants, names, versions)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(streams, byVersion)
	return records.DeliveryStreams(streams), nil
}

// EndedKeys lists those of the keys that are revoked or have expired.
func (s *Store) EndedKeys(ctx context.Context, ids []string, now time.Time) ([]string, error) {
	return all(ctx, s.db.from(ctx), func(r pgx.Rows) (id string, err error) { return id, r.Scan(&id) }, endedKeys, ids, stamp(now))
}
