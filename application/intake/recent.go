package intake

import (
	"sync"
	"time"
)

// Bounds of what is remembered, 60 MB at most: of an event only the report's summary may be long, and maxSummary bounds it, in
// bytes.
const (
	maxRecent  = 2000
	maxSummary = 4 << 10
	// recentFor is how long older events keep their places: fan-out that lags takes the oldest next. What it has not taken by
	// then is handled by another process.
	recentFor = time.Second
)

// Recent holds events that this process accepted lately, so that its own fan-out need not read back what was in memory a moment
// ago. They are as they would be read, and what is not in it is in the store.
type Recent struct {
	mu     sync.Mutex
	events map[EventKey]Accepted
	order  []EventKey // a ring, the oldest at next
	next   int
}

func newRecent() *Recent {
	return &Recent{events: make(map[EventKey]Accepted, maxRecent), order: make([]EventKey, maxRecent)}
}

// add remembers events that are durable, as far as there is room.
func (r *Recent) add(events []Accepted) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range events {
		if report := a.VisitReport; report != nil && report.Summary != nil && len(*report.Summary) > maxSummary {
			continue
		}
		if oldest, kept := r.events[r.order[r.next]]; kept && a.At.Sub(oldest.At).Abs() < recentFor {
			return
		}
		delete(r.events, r.order[r.next])
		r.order[r.next] = a.Key()
		a.encoded = nil
		r.events[a.Key()] = a
		r.next = (r.next + 1) % maxRecent
	}
}

// Take returns the events in the order of the keys and forgets them. Where it does not have one the place is empty and the key
// missing.
func (r *Recent) Take(keys []EventKey) (taken []Accepted, missing []EventKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken = make([]Accepted, len(keys))
	for i, key := range keys {
		a, known := r.events[key]
		if !known {
			missing = append(missing, key)
			continue
		}
		taken[i] = a
		delete(r.events, key)
	}
	return taken, missing
}
