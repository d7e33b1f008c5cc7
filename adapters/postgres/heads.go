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

// How often a search starts from the beginning although a head is known: at least searchPause apart, and taking at most 1/searchShare
// of the time; but no later than longestPause, since a slow search may just have waited for a server that stood still.
const (
	searchPause  = 100 * time.Millisecond
	searchShare  = 50
	longestPause = time.Minute
)

// maxHeads bounds how many keys are remembered.
const maxHeads = 50_000

// A lane is long to walk over once longLane deliveries were leased from it, and a tenant's waiting events once longTurn rows were taken:
// while anybody holds an old snapshot, their index entries are still there. A quick search from the beginning shows that they are gone.
// At most mostLong are looked at individually, first those whose next search from the beginning is furthest off.
const (
	longLane = 10_000
	longTurn = 500
	quick    = 300 * time.Microsecond // little more than a round trip: what is not long is walked over some 60 times a second
	mostLong = 16
)

// fromTheStart is before every head.
const fromTheStart = math.MinInt64

// heads remembers, for each lane or tenant that this process takes from, where what is left begins. A search then need not walk over the
// index entries of everything taken before: while anybody holds an old snapshot, vacuum cannot remove them. What another process
// puts before a head is found by the next search from the beginning, a little later.
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
	at    int64     // nothing was left before it when it was last taken from
	until time.Time // after which the next search starts from the beginning
	taken int       // by this process, since the key is remembered
}

// from is where to search now, and whether that is the beginning.
func (h head) from(now time.Time) (at int64, start bool) {
	if now.Before(h.until) {
		return h.at, false
	}
	return fromTheStart, true
}

// longHead is the head of a key that is long to walk over.
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

// left notes where what is left begins, and how many were taken. took is how long the search from the beginning lasted, 0 if it did
// not start there.
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

// searched notes that a search from the beginning found nothing.
func (h *heads[K]) searched(key K, now time.Time, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.of[key]; ok {
		h.of[key] = h.entered(key, known, now, took)
	}
}

// nextSearch is when to search from the beginning again.
func nextSearch(now time.Time, took time.Duration) time.Time {
	return now.Add(min(max(searchPause, searchShare*took), longestPause))
}

// longest lists the keys asked for that are long to walk over, sorted by order.
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

// back notes that there is something at a place again.
func (h *heads[K]) back(key K, at int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.of[key]; ok && at < known.at {
		known.at = at
		h.of[key] = known
	}
}

// forget makes the next search start from the beginning.
func (h *heads[K]) forget(key K) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.of, key)
	delete(h.long, key)
}

// laneHeads holds the due times of what is ready, in microseconds since 1970. Something gets ready before a head when another process
// gives it back, or when it is due by a clock that is behind.
type laneHeads struct{ heads[dispatch.Lane] }

// disorder is how much earlier than what was leased something committed later may be due: transactions overlap, and clocks differ.
const disorder = time.Second

func newLaneHeads() laneHeads { return laneHeads{newHeads[dispatch.Lane](longLane)} }

// longFrom lists the long lanes behind a subscription, by subscription ID.
func (h *laneHeads) longFrom(after string) []longHead[dispatch.Lane] {
	return h.longest(func(lane dispatch.Lane) bool { return lane.SubscriptionID > after }, func(a, b dispatch.Lane) int {
		return cmp.Or(strings.Compare(a.SubscriptionID, b.SubscriptionID), a.Compare(b))
	})
}

// givenBack notes that what was leased is ready again. Forgetting the lanes' heads instead would make searches slowest just when
// deliveries are given back because leasing them was too slow.
func (h *laneHeads) givenBack(leased []dispatch.Leased) {
	for _, l := range leased {
		h.back(l.Lane(), l.Delivery.DueAt.UnixMicro())
	}
}
