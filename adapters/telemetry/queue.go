package telemetry

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// QueueStore knows what waits.
type QueueStore interface {
	QueueDepth(ctx context.Context, now time.Time) (depth map[delivery.Status]int, oldestDue time.Time, err error)
	CountSetAside(ctx context.Context) (int, error)
	OldestUnrouted(ctx context.Context) (time.Time, error)
	WaitingFrom(ctx context.Context) (map[tenant.ID]time.Time, error)
}

// ReadQueue reads what the gauges of the queue show at a time.
func ReadQueue(ctx context.Context, store QueueStore, at time.Time, circuits map[circuit.State]int) (Queue, error) {
	depth, oldestDue, err := store.QueueDepth(ctx, at)
	if err != nil {
		return Queue{}, err
	}
	aside, err := store.CountSetAside(ctx)
	if err != nil {
		return Queue{}, err
	}
	unrouted, err := store.OldestUnrouted(ctx)
	if err != nil {
		return Queue{}, err
	}
	waiting, err := store.WaitingFrom(ctx)
	for _, since := range waiting {
		if unrouted.IsZero() || since.Before(unrouted) {
			unrouted = since
		}
	}
	return Queue{Depth: depth, OldestDue: age(oldestDue, at), OldestUnrouted: age(unrouted, at), Deferring: len(waiting), SetAside: aside, Circuits: circuits}, err
}

// age is 0 for nothing.
func age(since, at time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return at.Sub(since)
}
