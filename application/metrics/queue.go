package metrics

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// QueueStore knows what is waiting.
type QueueStore interface {
	QueueDepth(ctx context.Context, now time.Time) (depth map[delivery.Status]int, oldestDue time.Time, err error)
	CountSetAside(ctx context.Context) (int, error)
	OldestUnrouted(ctx context.Context) (time.Time, error)
	WaitingFrom(ctx context.Context) (map[tenant.ID]time.Time, error)
}

// Queue is the open deliveries at one moment.
type Queue struct {
	// Depth is the number of deliveries by status; a missing status has none.
	Depth map[delivery.Status]int
	// OldestDue is how long the longest due delivery has been due; 0 when none is due.
	OldestDue time.Duration
	// OldestUnrouted is how long the oldest accepted event without its deliveries has waited; 0 when there is none.
	OldestUnrouted time.Duration
	// Deferring is how many tenants have events waiting for the tenant's turn.
	Deferring int
	// SetAside is how many events could not be handled, and wait to be retried.
	SetAside int
	// Circuits is how many receivers this process spares, by state.
	Circuits map[circuit.State]int
}

// Connections is how this process uses its connections to the database at one moment.
type Connections struct {
	Used, Idle, Max int
	// Waiting is how many callers wait for a connection; with SQLite, for the one that writes.
	Waiting int
	// Polling says that what other processes commit is found by polling, and so a second late.
	Polling bool
}

// QueueWatch reads the queue periodically, so that no scrape has to count a long one: with a million open deliveries that takes seconds.
type QueueWatch struct {
	store    QueueStore
	circuits func() map[circuit.State]int
	now      func() time.Time
	last     atomic.Pointer[reading]
	took     atomic.Pointer[time.Duration] // by the last read that came to its end
}

type reading struct {
	Queue
	took time.Duration
}

// How often the queue is read: the more there is to count, the less often, so that counting takes at most a thirtieth of the time.
const (
	shortestWatch = 5 * time.Second
	longestWatch  = 5 * time.Minute
	watchShare    = 30
)

// What takes less than quick to count is counted for each scrape, which waits for it no longer than longestScrape.
const (
	quick         = 100 * time.Millisecond
	longestScrape = 2 * time.Second
)

// NewQueueWatch makes a QueueWatch; circuits is how many receivers this process spares.
func NewQueueWatch(store QueueStore, circuits func() map[circuit.State]int, now func() time.Time) *QueueWatch {
	return &QueueWatch{store: store, circuits: circuits, now: now}
}

// Loop reads the queue.
func (w *QueueWatch) Loop() loop.Loop { return loop.Loop{Name: "queue-watch", Step: w.Step} }

// Step reads the queue once.
func (w *QueueWatch) Step(ctx context.Context) (time.Time, error) {
	began := w.now()
	queue, err := w.read(ctx, began)
	if err != nil {
		w.last.Store(nil)
		return time.Time{}, fmt.Errorf("read the queue for its metrics: %w", err)
	}
	ended := w.now()
	took := ended.Sub(began)
	w.last.Store(&reading{queue, took})
	counting := took
	if before := w.took.Swap(&took); before != nil {
		counting = min(took, *before) // what one read waits for a lock says nothing of how much there is to count
	}
	return ended.Add(min(max(watchShare*counting, shortestWatch), longestWatch)), nil
}

// Last is what is known of the queue; false when nothing was read yet, or could not be.
func (w *QueueWatch) Last(ctx context.Context) (Queue, bool) {
	last := w.last.Load()
	if last != nil && last.took < quick {
		ctx, cancel := context.WithTimeout(ctx, longestScrape)
		defer cancel()
		_, _ = w.Step(ctx) // the loop reports what goes wrong
		last = w.last.Load()
	}
	if last == nil {
		return Queue{}, false
	}
	queue := last.Queue
	queue.Circuits = w.circuits()
	return queue, true
}

func (w *QueueWatch) read(ctx context.Context, at time.Time) (Queue, error) {
	depth, oldestDue, err := w.store.QueueDepth(ctx, at)
	if err != nil {
		return Queue{}, err
	}
	aside, err := w.store.CountSetAside(ctx)
	if err != nil {
		return Queue{}, err
	}
	unrouted, err := w.store.OldestUnrouted(ctx)
	if err != nil {
		return Queue{}, err
	}
	waiting, err := w.store.WaitingFrom(ctx)
	for _, since := range waiting {
		if unrouted.IsZero() || since.Before(unrouted) {
			unrouted = since
		}
	}
	return Queue{Depth: depth, OldestDue: age(oldestDue, at), OldestUnrouted: age(unrouted, at), Deferring: len(waiting), SetAside: aside}, err
}

// age is 0 when there is nothing.
func age(since, at time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return at.Sub(since)
}
