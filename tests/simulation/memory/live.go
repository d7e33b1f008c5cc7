package memory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// DeliveryHead is the newest position of a delivery's record.
func (s *Store) DeliveryHead(ctx context.Context) (int64, error) {
	done, err := s.read(ctx)
	defer done()
	for _, r := range slices.Backward(s.log) {
		if r.topic == records.TopicDeliveries {
			return r.position, err
		}
	}
	return 0, err
}

// DeliveryRecords lists records beyond a position, oldest first.
func (s *Store) DeliveryRecords(ctx context.Context, after int64, limit int) ([]live.Record, error) {
	done, err := s.read(ctx)
	defer done()
	list := s.liveRecords(after, func(*record) bool { return true })
	return list[:min(len(list), limit)], err
}

// TenantDeliveryRecords lists the tenant's records between two positions, oldest first.
func (s *Store) TenantDeliveryRecords(ctx context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error) {
	done, err := s.read(ctx)
	defer done()
	return s.liveRecords(after, func(r *record) bool { return r.tenant == owner && r.position <= upTo }), err
}

func (s *Store) liveRecords(after int64, wanted func(*record) bool) (list []live.Record) {
	for _, r := range s.after(after) {
		if r.topic == records.TopicDeliveries && wanted(r) {
			list = append(list, live.Record{Position: r.position, Tenant: r.tenant, DeliveryID: strings.TrimPrefix(r.stream, deliveryStream), Version: r.version})
		}
	}
	return list
}

// DeliveryStreams reads the changes of deliveries, each up to a version.
func (s *Store) DeliveryStreams(ctx context.Context, upTo map[live.Key]int64) (map[live.Key][]delivery.Change, error) {
	streams := map[live.Key][]delivery.Change{}
	for key, version := range upTo {
		changes, err := s.DeliveryChanges(ctx, key.Tenant, key.DeliveryID)
		if err != nil {
			return nil, err
		}
		streams[key] = changes[:min(int64(len(changes)), version)]
	}
	return streams, nil
}

// EndedKeys lists those of the keys that are revoked or have expired.
func (s *Store) EndedKeys(ctx context.Context, ids []string, now time.Time) (ended []string, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, id := range ids {
		if k, found := s.keys.get(keyOf("", id)); found && (!k.RevokedAt.IsZero() || !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(now)) {
			ended = append(ended, id)
		}
	}
	return ended, err
}
