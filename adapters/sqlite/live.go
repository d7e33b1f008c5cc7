package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	deliveryHead    = `SELECT coalesce(max(position), 0) FROM records WHERE topic = ?`
	deliveryRecords = `SELECT position, tenant_id, stream, version FROM records WHERE topic = ? AND position > ? ORDER BY position LIMIT ?`
	tenantRecords   = `SELECT position, tenant_id, stream, version FROM records INDEXED BY records_by_topic
		WHERE topic = ? AND position > ? AND position <= ? AND tenant_id = ? ORDER BY position`
	deliveryStreams = `SELECT ` + recordColumns + ` FROM (SELECT key AS place, value ->> 0 AS owner, value ->> 1 AS name, value ->> 2 AS newest FROM json_each(?)) k
		CROSS JOIN records INDEXED BY records_by_stream ON tenant_id = owner AND stream = name AND version > 0 AND version <= newest
		ORDER BY place, version`
	endedKeys = `SELECT key_id FROM json_each(?) k CROSS JOIN api_keys ON key_id = k.value WHERE revoked_at IS NOT NULL OR expires_at <= ?`
)

func scanLive(r *sql.Rows) (l live.Record, err error) {
	err = r.Scan(&l.Position, &l.Tenant, &l.DeliveryID, &l.Version)
	l.DeliveryID = records.DeliveryOf(l.DeliveryID)
	return l, err
}

// DeliveryHead is the newest position of a delivery's record.
func (s *Store) DeliveryHead(ctx context.Context) (int64, error) {
	return one(ctx, s.db, value[int64], deliveryHead, records.TopicDeliveries)
}

// DeliveryRecords lists records beyond a position, oldest first.
func (s *Store) DeliveryRecords(ctx context.Context, after int64, limit int) ([]live.Record, error) {
	return all(ctx, s.db, scanLive, deliveryRecords, records.TopicDeliveries, after, limit)
}

// TenantDeliveryRecords lists the tenant's records between two positions, oldest first.
func (s *Store) TenantDeliveryRecords(ctx context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error) {
	return all(ctx, s.db, scanLive, tenantRecords, records.TopicDeliveries, after, upTo, owner)
}

// DeliveryStreams reads the changes of each delivery up to a version.
func (s *Store) DeliveryStreams(ctx context.Context, upTo map[live.Key]int64) (map[live.Key][]delivery.Change, error) {
	wanted := make([][]any, 0, len(upTo))
	for key, version := range upTo {
		wanted = append(wanted, []any{key.Tenant, records.DeliveryStream(key.DeliveryID), version})
	}
	text, err := list(wanted)
	if err != nil {
		return nil, err
	}
	streams, err := all(ctx, s.db, scanRecord, deliveryStreams, text)
	if err != nil {
		return nil, err
	}
	return records.DeliveryStreams(streams), nil
}

// EndedKeys lists those of the keys that are revoked or have expired.
func (s *Store) EndedKeys(ctx context.Context, ids []string, now time.Time) ([]string, error) {
	wanted, err := list(ids)
	if err != nil {
		return nil, err
	}
	return all(ctx, s.db, value[string], endedKeys, wanted, stamp(now))
}
