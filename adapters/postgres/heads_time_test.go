package postgres

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// TestALaneIsSearchedFromItsBeginningNowAndThen, the more seldom the longer that takes.
func TestALaneIsSearchedFromItsBeginningNowAndThen(t *testing.T) {
	lane, now := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}, time.Unix(1_000_000, 0)
	for _, c := range []struct{ took, pause time.Duration }{
		{time.Millisecond, searchPause}, {10 * time.Millisecond, 500 * time.Millisecond}, {time.Hour, longestPause},
	} {
		h := newLaneHeads()
		want := func(at time.Duration, due int64, start bool) {
			t.Helper()
			if gotDue, gotStart := h.from(lane, now.Add(at)); gotDue != due || gotStart != start {
				t.Errorf("a search of %s, and %s later: from %d, %t, want %d, %t", c.took, at, gotDue, gotStart, due, start)
			}
		}
		want(0, fromTheStart, true)
		h.left(lane, 7, now, c.took, 1)
		want(c.pause-1, 7, false)
		h.left(lane, 9, now.Add(c.pause/2), 0, 1)
		want(c.pause-1, 9, false)
		want(c.pause, fromTheStart, true)
	}
}

// TestAnEmptiedLaneKeepsItsHead, or each lease of a lane that keeps up would walk over all that was leased since somebody's snapshot.
func TestAnEmptiedLaneKeepsItsHead(t *testing.T) {
	lane, now := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}, time.Unix(1_000_000, 0)
	h := newLaneHeads()
	l := leasing{request: dispatch.LeaseRequest{Lanes: []dispatch.Asked{{Lane: lane}}}, started: []bool{true}}
	for _, due := range []time.Time{now.Add(-time.Minute), now, now.Add(-time.Hour)} {
		l.taken = append(l.taken, takenDelivery{queued: queued{Delivery: delivery.Delivery{Tenant: lane.Tenant, SubscriptionID: lane.SubscriptionID, DueAt: due}}})
	}
	l.moveHeads(&h, true, now)
	if due, start := h.from(lane, now); start || due != now.Add(-disorder).UnixMicro() {
		t.Errorf("searched from %d, the beginning: %t; want a second before the last that was taken", due, start)
	}
	l.taken = nil
	l.moveHeads(&h, true, now)
	if _, start := h.from(lane, now); start {
		t.Error("a lane in which nothing was found lost its head")
	}
}

// TestWhatIsGivenBackMovesAHead there, and no further: a lease that took long is given back as a whole, and would be followed by one
// from the beginning, which takes as long.
func TestWhatIsGivenBackMovesAHead(t *testing.T) {
	lane, now := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}, time.Unix(1_000_000, 0)
	h := newLaneHeads()
	h.left(lane, 9, now, time.Second, 1)
	var leased []dispatch.Leased
	for _, due := range []int64{8, 5, 7} {
		leased = append(leased, dispatch.Leased{Delivery: delivery.Delivery{Tenant: lane.Tenant, SubscriptionID: lane.SubscriptionID, DueAt: time.UnixMicro(due)}})
	}
	h.givenBack(leased)
	if due, start := h.from(lane, now); start || due != 5 {
		t.Errorf("searched from %d, the beginning: %t; want from 5", due, start)
	}
}
