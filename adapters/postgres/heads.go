package postgres

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// What has a head is searched from its beginning so often, at least so far apart, and for no more than this part of the time; but not
// later than longestPause, since a search may also have waited for a server that stood still.
const (
	searchPause  = 100 * time.Millisecond
	searchShare  = 50
	longestPause = time.Minute
)

// maxHeads bounds what is remembered, of what was taken from.
const maxHeads = 50_000

// A lane is long to walk over when so many were leased from it, and what waits of a tenant when so many rows were taken: as long as
// anybody holds an old snapshot, their entries are there still. They are not, when a search from the beginning is quick. So many at most
// are looked at by themselves, those first that are not searched from their beginning for longest.
const (
	longLane = 10_000
	longTurn = 500
	quick    = 300 * time.Microsecond // hardly more than a round trip: what is not long is walked over some 60 times a second
	mostLong = 16
)

// fromTheStart is before each head.
const fromTheStart = math.MinInt64

// heads is where what is left begins in each lane, or of each tenant, that this process takes from, so that a search need not walk over
// the index entries of all that was taken before: as long as anybody holds an old snapshot, vacuum cannot remove them. What comes
// to be before a head by another process is found from the beginning, a little later.
type heads[K comparable] struct {
	longAfter int // taken
	mu        sync.Mutex
	of        map[K]head
	long      map[K]bool
}

func newHeads[K comparable](longAfter int) heads[K] {
	return heads[K]{longAfter: longAfter, of: map[K]head{}, long: map[K]bool{}}
}

type head struct {
	at    int64     // before which nothing was left when it was taken from last
	until time.Time // from when on it is searched from its beginning
	taken int       // by this process, since it remembers it
}

// from is where to search now, and whether that is the beginning.
func (h head) from(now time.Time) (at int64, start bool) {
	if now.Before(h.until) {
		return h.at, false
	}
	return fromTheStart, true
}

// longHead is the head of what is long to walk over.
type longHead[K comparable] struct {
	of K
	head
}

// from is where to search, and whether that is the beginning.
func (h *heads[K]) from(key K, now time.Time) (at int64, start bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[key].from(now)
}

// left notes where what was left begins, and how many were taken. took is how long it was searched from its beginning, 0 if it was not.
func (h *heads[K]) left(key K, at int64, now time.Time, took time.Duration, taken int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.of[key]
	if len(h.of) >= maxHeads {
		clear(h.of)
		clear(h.long)
	}
	next := head{at, known.until, known.taken + taken}
	if !ok || took > 0 {
		next = h.entered(key, next, now, took)
	}
	h.of[key] = next
	if next.taken >= h.longAfter {
		h.long[key] = true
	}
}

// entered notes a search from the beginning.
func (h *heads[K]) entered(key K, known head, now time.Time, took time.Duration) head {
	if known.until = nextSearch(now, took); took > 0 && took < quick {
		known.taken = 0
		delete(h.long, key)
	}
	return known
}

// searched notes that nothing was found from the beginning on.
func (h *heads[K]) searched(key K, now time.Time, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.of[key]; ok {
		h.of[key] = h.entered(key, known, now, took)
	}
}

// nextSearch is when there is a search from the beginning again.
func nextSearch(now time.Time, took time.Duration) time.Time {
	return now.Add(min(max(searchPause, searchShare*took), longestPause))
}

// longest lists what is long to walk over, of what is asked for, in the order of less.
func (h *heads[K]) longest(asked func(K) bool, order func(a, b K) int) (list []longHead[K]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range h.long {
		if asked(key) {
			list = append(list, longHead[K]{key, h.of[key]})
		}
	}
	if len(list) > mostLong {
		slices.SortFunc(list, func(a, b longHead[K]) int { return cmp.Or(b.until.Compare(a.until), order(a.of, b.of)) })
		list = list[:mostLong]
	}
	slices.SortFunc(list, func(a, b longHead[K]) int { return order(a.of, b.of) })
	return list
}

// back notes that something is there again.
func (h *heads[K]) back(key K, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.of[key]; ok && at < known.at {
		known.at = at
		h.of[key] = known
	}
}

// forget has the next search begin at the beginning.
func (h *heads[K]) forget(key K) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.of, key)
	delete(h.long, key)
}

// laneHeads is when what is ready fell due, in microseconds since 1970. What comes to be ready before a head is given back elsewhere, or
// due by a clock that is behind.
type laneHeads struct{ heads[dispatch.Lane] }

// disorder is how much earlier than what was leased may be due what is committed after it: transactions overlap, and clocks differ.
const disorder = time.Second

func newLaneHeads() laneHeads { return laneHeads{newHeads[dispatch.Lane](longLane)} }

// longFrom lists long lanes behind a subscription, in the order of their IDs.
func (h *laneHeads) longFrom(after string) []longHead[dispatch.Lane] {
	return h.longest(func(lane dispatch.Lane) bool { return lane.SubscriptionID > after }, func(a, b dispatch.Lane) int {
		return cmp.Or(strings.Compare(a.SubscriptionID, b.SubscriptionID), a.Compare(b))
	})
}

// givenBack notes that what was leased is ready again. To search its lanes from their beginning would take longest when they are
// given back for having been leased too slowly.
func (h *laneHeads) givenBack(leased []dispatch.Leased) {
	for _, l := range leased {
		h.back(l.Lane(), l.Delivery.DueAt.UnixMicro())
	}
}
