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

// A lane is searched from its beginning so often, at least so far apart, and for no more than this part of the time.
const (
	searchPause = 100 * time.Millisecond
	searchShare = 50
)

// maxHeads bounds what is remembered, of lanes that were leased from.
const maxHeads = 50_000

// disorder is how much earlier than what was leased may be due what is committed after it: transactions overlap, and clocks differ.
const disorder = time.Second

// A lane is long to walk over when so many were leased from it: as long as anybody holds an old snapshot, their entries are there
// still. So many such lanes at most are looked at by themselves, those of which was leased last.
const (
	longAfter = 10_000
	mostLong  = 16
)

// fromTheStart is before each due time.
const fromTheStart = math.MinInt64

// heads is where what is ready begins in the lanes that this process leases from, so that a search need not walk over the
// index entries of all that was leased before: as long as anybody holds an old snapshot, vacuum cannot remove them. What comes
// to be ready before a head (given back elsewhere, or due by a clock that is behind) is found from the beginning, a little later.
type heads struct {
	mu    sync.Mutex
	lanes map[dispatch.Lane]head
	long  map[dispatch.Lane]bool
}

func newHeads() heads { return heads{lanes: map[dispatch.Lane]head{}, long: map[dispatch.Lane]bool{}} }

type head struct {
	due   int64     // before which nothing was left when the lane was leased from last, in microseconds since 1970
	until time.Time // from when on the lane is searched from its beginning
	taken int       // by this process, since it remembers the lane
}

// from is where to search now, and whether that is the beginning.
func (h head) from(now time.Time) (due int64, start bool) {
	if now.Before(h.until) {
		return h.due, false
	}
	return fromTheStart, true
}

// longLane is a lane that is long to walk over.
type longLane struct {
	dispatch.Lane
	head
}

// from is where to search the lane, and whether that is its beginning.
func (h *heads) from(lane dispatch.Lane, now time.Time) (due int64, start bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.lanes[lane].from(now)
}

// left notes when what was left in a lane fell due first, and how many were taken from it. took is how long it was searched from its
// beginning, 0 if it was not.
func (h *heads) left(lane dispatch.Lane, due int64, now time.Time, took time.Duration, taken int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	known, ok := h.lanes[lane]
	if len(h.lanes) >= maxHeads {
		clear(h.lanes)
		clear(h.long)
	}
	next := head{due, known.until, known.taken + taken}
	if !ok || took > 0 {
		next.until = nextSearch(now, took)
	}
	h.lanes[lane] = next
	if next.taken >= longAfter {
		h.long[lane] = true
	}
}

// searched notes that nothing was found from the lane's beginning on.
func (h *heads) searched(lane dispatch.Lane, now time.Time, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.lanes[lane]; ok {
		known.until = nextSearch(now, took)
		h.lanes[lane] = known
	}
}

// nextSearch is when a lane is searched from its beginning again.
func nextSearch(now time.Time, took time.Duration) time.Time {
	return now.Add(max(searchPause, searchShare*took))
}

// longFrom lists long lanes behind a subscription, in the order of their IDs.
func (h *heads) longFrom(after string) (list []longLane) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for lane := range h.long {
		if lane.SubscriptionID > after {
			list = append(list, longLane{lane, h.lanes[lane]})
		}
	}
	if len(list) > mostLong {
		slices.SortFunc(list, func(a, b longLane) int { return cmp.Or(b.until.Compare(a.until), a.Compare(b.Lane)) })
		list = list[:mostLong]
	}
	slices.SortFunc(list, func(a, b longLane) int { return strings.Compare(a.SubscriptionID, b.SubscriptionID) })
	return list
}

// back notes that something in the lane is ready again.
func (h *heads) back(lane dispatch.Lane, due int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.lanes[lane]; ok && due < known.due {
		known.due = due
		h.lanes[lane] = known
	}
}

// givenBack notes that what was leased is ready again. To search its lanes from their beginning would take longest when they are
// given back for having been leased too slowly.
func (h *heads) givenBack(leased []dispatch.Leased) {
	for _, l := range leased {
		h.back(l.Lane(), l.Delivery.DueAt.UnixMicro())
	}
}

// forget lets the lane be searched from its beginning.
func (h *heads) forget(lane dispatch.Lane) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.lanes, lane)
	delete(h.long, lane)
}
