package rest

import (
	"strconv"
	"testing"
	"time"
)

// A limiter remembers a bounded number of callers, and forgets the one that has been away longest.
func TestALimiterIsBounded(t *testing.T) {
	l := newLimiter(1, func() time.Time { return time.Unix(0, 0) })
	refused := func(id string) bool {
		_, err := l.take(id, "This key may send")
		return err != nil
	}
	for range burstFactor {
		refused("busy")
	}
	for i := range maxBuckets + 10 {
		refused(strconv.Itoa(i))
		if i%1000 == 0 && !refused("busy") {
			t.Fatalf("after %d others a caller that was there all the time is new", i)
		}
	}
	if len(l.buckets) != maxBuckets || l.recent.Len() != maxBuckets {
		t.Errorf("%d callers are remembered, in a list of %d", len(l.buckets), l.recent.Len())
	}
}

// A clock that is set back gives nothing, takes nothing, and goes on from where it was.
func TestALimitersClockIsNeverSetBack(t *testing.T) {
	now := time.Unix(10_000, 0)
	l := newLimiter(1, func() time.Time { return now })
	for step, c := range []struct {
		passes time.Duration
		left   float64
	}{{0, 1}, {-time.Hour, 0}, {time.Second, 0}, {-time.Minute, -1}, {2 * time.Second, 1}} {
		now = now.Add(c.passes)
		got, err := l.take("key", "This key may send")
		if (err != nil) != (c.left < 0) || max(got.left, 0) != max(c.left, 0) {
			t.Errorf("step %d: %v is left, %v; want %v", step, got.left, err, c.left)
		}
	}
}
