package postgres

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// TestALaneIsSearchedFromItsBeginningNowAndThen, the more seldom the longer that takes.
func TestALaneIsSearchedFromItsBeginningNowAndThen(t *testing.T) {
	lane, now := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}, time.Unix(1_000_000, 0)
	for _, c := range []struct{ took, pause time.Duration }{{time.Millisecond, searchPause}, {10 * time.Millisecond, 500 * time.Millisecond}} {
		h := heads{lanes: map[dispatch.Lane]head{}}
		want := func(at time.Duration, due int64, start bool) {
			t.Helper()
			if gotDue, gotStart := h.from(lane, now.Add(at)); gotDue != due || gotStart != start {
				t.Errorf("a search of %s, and %s later: from %d, %t, want %d, %t", c.took, at, gotDue, gotStart, due, start)
			}
		}
		want(0, fromTheStart, true)
		first, second := int64(7), int64(9)
		h.left(lane, &first, now, c.took)
		want(c.pause-1, first, false)
		h.left(lane, &second, now.Add(c.pause/2), 0)
		want(c.pause-1, second, false)
		want(c.pause, fromTheStart, true)
		h.left(lane, nil, now.Add(c.pause), c.took)
		want(c.pause, fromTheStart, true)
	}
}
