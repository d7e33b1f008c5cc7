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
	deliveryHead = `SELECT coalesce((SELECT position FROM records WHERE topic = $1 ORDER BY position DESC LIMIT 1), 0)`

	deliveryRecords = `SELECT position, tenant_id, stream, version FROM records WHERE topic = $1 AND position > $2 ORDER BY position LIMIT $3`

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

// DeliveryHead is the newest position of a delivery's record.
func (s *Store) DeliveryHead(ctx context.Context) (int64, error) {
	return one(ctx, s.db.from(ctx), value[int64], deliveryHead, records.TopicDeliveries)
}

// DeliveryRecords lists records beyond a position, oldest first.
func (s *Store) DeliveryRecords(ctx context.Context, after int64, limit int) ([]live.Record, error) {
	return all(ctx, s.db.from(ctx), scanLive, deliveryRecords, records.TopicDeliveries, after, limit)
}

// TenantDeliveryRecords lists the tenant's records between two positions, oldest first.
func (s *Store) TenantDeliveryRecords(ctx context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error) {
	return all(ctx, s.db.from(ctx), scanLive, tenantRecords, records.TopicDeliveries, after, upTo, owner)
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
	return all(ctx, s.db.from(ctx), value[string], endedKeys, ids, stamp(now))
}
