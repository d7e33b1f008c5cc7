package dispatch_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// rest takes turns until there is nothing to do now, as fill does, and fails when there are more than most.
func (w *world) rest(most int) (out []dispatch.Leased) {
	w.Helper()
	for next, turns := w.now, 0; !next.IsZero() && !next.After(w.now); turns++ {
		if turns == most {
			w.Fatalf("after %d turns at %s, with %d leases, there is still something to do now", turns, w.now.Sub(start), w.leases)
		}
		next = w.step()
		out = append(out, w.take()...)
	}
	return out
}

// A lane with more due than it may hold is not asked for what no store gives, turn after turn.
func TestABusyLaneIsAskedForWhatItGets(t *testing.T) {
	w := newWorld(t, 512)
	lane := w.subscribe("sub_1", 16)
	for range 300 {
		w.schedule(lane, "")
	}
	out := w.rest(10)
	before := w.leases
	for range 150 {
		w.now = w.now.Add(10 * time.Millisecond)
		w.Finish(out[0], succeeded())
		out = append(out[1:], w.take()...)
		if out = append(out, w.rest(3)...); len(out) != 16 {
			t.Fatalf("%d are out", len(out))
		}
	}
	if n := w.leases - before; n > 50 {
		t.Errorf("%d leases for 150 deliveries", n)
	}
}

// A lane that has more out than its subscription allows by now is left alone for a while, and goes on once it may.
func TestALaneThatAllowsLessByNowIsNotAskedAllTheTime(t *testing.T) {
	w := newWorld(t, 512)
	lane := w.subscribe("sub_1", 100)
	for range 300 {
		w.schedule(lane, "")
	}
	out := w.rest(10)
	w.subscribe("sub_1", 1)
	w.Changed(lane)
	w.Forget(lane)
	out = append(out, w.rest(10)...)
	if len(out) != 100 {
		t.Fatalf("%d are out", len(out))
	}
	for sent := 0; sent < 300; sent++ {
		w.Finish(out[0], succeeded())
		out = append(out[1:], w.take()...)
		w.now = w.now.Add(20 * time.Millisecond)
		if out = append(out, w.rest(4)...); len(out) == 0 && sent < 299 || sent > 100 && len(out) > 1 {
			t.Fatalf("%d are out after %d were sent", len(out), sent)
		}
	}
}
