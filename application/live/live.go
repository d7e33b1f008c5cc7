// Package live shows deliveries to listeners as they change, whichever process changes them.
//
// One reader per process follows the log while anybody listens, and hands each change to the listeners of its tenant.
// Nobody waits for a listener: one that does not keep up is dismissed, and resumes from the log.
package live

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Mark is a place in the log up to which somebody has heard. What is recorded after it is not older than At.
type Mark struct {
	Position int64
	At       time.Time
}

// Change is a delivery as a change left it. Its mark is that of the change's record.
type Change struct {
	Mark
	delivery.Delivery
	Last *delivery.Attempt // without what was sent and answered; nil when none has ended
}

// Record names a change of a delivery in the log.
type Record struct {
	Position   int64
	Tenant     tenant.ID
	DeliveryID string
	Version    int64 // of the delivery after the change
}

// Key names a delivery.
type Key struct {
	Tenant     tenant.ID
	DeliveryID string
}

// Key is the delivery that the record is about.
func (r Record) Key() Key { return Key{r.Tenant, r.DeliveryID} }

// Log is the topic of deliveries.
type Log interface {
	// DeliveryHead is the newest position; 0 when the topic is empty.
	DeliveryHead(ctx context.Context) (int64, error)
	// DeliveryRecords lists at most limit records beyond a position, oldest first.
	DeliveryRecords(ctx context.Context, after int64, limit int) ([]Record, error)
	// TenantDeliveryRecords lists the tenant's records with after < position <= upTo, oldest first. It reads everything
	// between them, so they must not be far apart.
	TenantDeliveryRecords(ctx context.Context, owner tenant.ID, after, upTo int64) ([]Record, error)
	// DeliveryStreams reads the changes of deliveries, oldest first, each up to the given version, or to where it is
	// damaged.
	DeliveryStreams(ctx context.Context, upTo map[Key]int64) (map[Key][]delivery.Change, error)
}

// KeyReader knows which API keys have ended.
type KeyReader interface {
	// EndedKeys lists those of the keys that are revoked or have expired.
	EndedKeys(ctx context.Context, ids []string, now time.Time) ([]string, error)
}
