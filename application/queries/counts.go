package queries

import (
	"context"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// MaxCounted is how far the deliveries of one status are counted: a backlog may have a million, and whoever looks at it waits for the answer.
const MaxCounted = 1000

// Count is how many there are; with More there may be more than that.
type Count struct {
	Number int
	More   bool
}

// Counts is how many of a subscription's deliveries have which status.
type Counts map[delivery.Status]Count

// CountReader counts deliveries.
type CountReader interface {
	// CountDeliveries counts what the lane has open, and its dead letters, none of them further than upTo. What it costs is bounded by that.
	CountDeliveries(ctx context.Context, lane dispatch.Lane, upTo int) (Counts, error)
}

// Add counts the deliveries of a status that one part of the queue has, of which there may be more than were looked at. Those are of any
// status in which a delivery waits for an attempt, if these are.
func (c Counts) Add(status delivery.Status, number int, more bool, upTo int) {
	one := c[status]
	one.Number += number
	c[status] = Count{min(one.Number, upTo), one.More || one.Number > upTo}
	for _, other := range delivery.Statuses() {
		if more && (other == status || other.IsClaimable() && status.IsClaimable()) {
			c[other] = Count{c[other].Number, true}
		}
	}
}
