package live

import (
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

// Filter picks changes by the delivery as it is after them; a zero field picks all.
type Filter struct {
	Status         delivery.Status
	SubscriptionID string
	EventID        string
	EventType      event.Type
	Since, Until   time.Time // of the delivery's creation; until is exclusive
}

// Matches reports whether the filter picks the delivery.
func (f Filter) Matches(d delivery.Delivery) bool {
	return (f.Status == "" || f.Status == d.Status) &&
		(f.SubscriptionID == "" || f.SubscriptionID == d.SubscriptionID) &&
		(f.EventID == "" || f.EventID == d.EventID) &&
		(f.EventType == "" || f.EventType == d.EventType) &&
		(f.Since.IsZero() || !d.CreatedAt.Before(f.Since)) &&
		(f.Until.IsZero() || d.CreatedAt.Before(f.Until))
}
