package fanout_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
)

// full is a crowd of which acme's events wait, since there is no room for their deliveries.
func full(t *testing.T, maxLag time.Duration) (*world, *fanout.Turns) {
	w, _ := crowd(t)
	w.maxLag = maxLag
	w.restart()
	turns := w.fanOut.Turns()
	w.room[acme] = 2
	is(t, "at once", scheduledIn(w.handle(several(acme, "a", 5)...)), "a0 a0")
	w.room[acme] = 0
	return w, turns
}

func TestWhatThereIsNoRoomForWaits(t *testing.T) {
	w, _ := full(t, 0)
	is(t, "of others", scheduledIn(w.handle(slices.Concat(several(acme, "b", 1), several(other, "c", 2))...)), "c0 c1")
	w.subscribe("third", "sub_4", settings("target.*"))
	w.room["third"] = 0
	if w.handle(several("third", "d", 1)...); w.waitingOf("third") != "" {
		t.Errorf("what nobody wants waits for room: %s", w.waitingOf("third"))
	}
}

func TestATurnWaitsForRoomAndTakesNoMore(t *testing.T) {
	w, turns := full(t, 0)
	w.handle(several(other, "b", 5)...)
	is(t, "the other's turn", w.step(turns), "b4")
	next, err := turns.Step(t.Context())
	if rest := next.Sub(start); err != nil || rest <= 0 || rest > 20*time.Millisecond || len(w.deferred) == 0 {
		t.Errorf("without room the next turn comes after %s, %v", rest, err)
	}
	w.room[acme] = 3
	is(t, "with room", w.step(turns), "a1 a1")
	w.room[acme] = 100
	is(t, "with plenty", w.step(turns), "a2 a2 a3 a3")
}

func TestATurnWaitsForRoomNoLongerThanItMay(t *testing.T) {
	for name, pass := range map[string]time.Duration{"time passes": 100 * time.Millisecond, "the clock is set back": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			w, turns := full(t, 0)
			is(t, "at first", w.step(turns), "")
			w.later += 99 * time.Millisecond
			is(t, "a little later", w.step(turns), "")
			w.later += pass - 99*time.Millisecond
			is(t, "then", w.step(turns), "a1 a1 a2 a2")
			is(t, "and the next waits anew", w.step(turns), "")
		})
	}
}

// Events that have waited for long go to the queue as fast as they can, before others are refused since they wait.
func TestWhatHasWaitedForLongWaitsForNoRoom(t *testing.T) {
	for _, c := range []struct{ maxLag, paced time.Duration }{{0, 15 * time.Second}, {40 * time.Second, 2 * time.Second}, {time.Hour, 15 * time.Second}} {
		w, turns := full(t, c.maxLag)
		w.room[acme] = 2
		is(t, "while it is new", w.step(turns), "a1 a1")
		w.room[acme] = 0
		w.later += c.paced - 1050*time.Millisecond // they came a second before the start
		is(t, "before it is late", w.step(turns), "")
		w.later += 60 * time.Millisecond
		is(t, "when it is late", w.step(turns), "a2 a2 a3 a3")
		is(t, "at once after it", w.step(turns), "a4 a4")
	}
}
