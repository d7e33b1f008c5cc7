package postgres

import (
	"math"
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

// fromTheStart is before each due time.
const fromTheStart = math.MinInt64

// heads is where what is ready begins in the lanes that this process leases from, so that a search need not walk over the
// index entries of all that was leased before: as long as anybody holds an old snapshot, vacuum cannot remove them. What comes
// to be ready before a head (given back elsewhere, or due by a clock that is behind) is found from the beginning, a little later.
type heads struct {
	mu    sync.Mutex
	lanes map[dispatch.Lane]head
}

type head struct {
	due   int64     // before which nothing was left when the lane was leased from last, in microseconds since 1970
	until time.Time // from when on the lane is searched from its beginning
}

// from is where to search the lane, and whether that is its beginning.
func (h *heads) from(lane dispatch.Lane, now time.Time) (due int64, start bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.lanes[lane]; ok && now.Before(known.until) {
		return known.due, false
	}
	return fromTheStart, true
}

// left notes when what was left in a lane fell due first. took is how long it was searched from its beginning, 0 if it was not.
func (h *heads) left(lane dispatch.Lane, due int64, now time.Time, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	until := now.Add(max(searchPause, searchShare*took))
	if known, ok := h.lanes[lane]; ok && took == 0 {
		until = known.until
	}
	if len(h.lanes) >= maxHeads {
		clear(h.lanes)
	}
	h.lanes[lane] = head{due, until}
}

// back notes that something in the lane is ready again.
func (h *heads) back(lane dispatch.Lane, due int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.lanes[lane]; ok && due < known.due {
		h.lanes[lane] = head{due, known.until}
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
}
