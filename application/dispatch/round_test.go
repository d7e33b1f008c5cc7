package dispatch

import (
	"fmt"
	"testing"
	"time"
)

// A round that finds as many lanes as a look may has not seen them all: the next look goes on behind the last of them.
func TestARoundGoesOnWhereItsLastLookEnded(t *testing.T) {
	now, r, lanes := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), round{running: true}, make([]Lane, maxLookedAtOnce)
	for i := range lanes {
		lanes[i] = Lane{Tenant: "acme", SubscriptionID: fmt.Sprintf("sub_%04d", i)}
	}
	if r.walked(lanes, now, time.Second); !r.running || r.after != "sub_0255" || r.rests(now) {
		t.Errorf("in the middle: %+v", r)
	}
	if r.walked(lanes[1:], now, time.Second); r.running || !r.rested.Equal(now.Add(2*restShare*time.Second)) {
		t.Errorf("at its end: %+v", r)
	}
}
