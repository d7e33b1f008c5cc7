package fanout_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/event"
)

// An event that the store refuses stops the log for some attempts, since nobody knows yet which one it is, and then its tenant's turns, which
// find that out and set it aside.
func TestAnEventThatTheStoreRefusesIsSetAside(t *testing.T) {
	w, turns := crowd(t)
	w.refuses = map[string]bool{"evt_a0": true}
	position, keys := w.accept(append(several(acme, "a", 3), several(other, "b", 1)...)...)
	handle := func() error {
		return w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}})
	}
	for range fanout.Refusals {
		if err := handle(); !errors.Is(err, fanout.ErrRefused) {
			t.Fatalf("got %v", err)
		}
	}
	if err := handle(); err != nil {
		t.Fatal(err)
	}
	is(t, "left for turns", w.waitingOf(acme)+", "+w.waitingOf(other), "a0@4.0 a1@4.1 a2@4.2, b0@4.3")
	is(t, "a record of others", scheduledIn(w.handle(event.Event{ID: "evt_c0", TenantID: "third", Type: event.TargetImported})), "")
	is(t, "a turn of several", w.step(turns), "")
	is(t, "another tenant's", w.step(turns), "b0")
	is(t, "the first alone", w.step(turns), "")
	is(t, "the next ones", w.step(turns)+", "+w.step(turns), "a1 a1, a2 a2")
	is(t, "set aside", len(w.aside) == 1 && w.aside[0] == "evt_a0", true)
	is(t, "waiting", w.waitingOf(acme), "")
}

// A log full of such records is waited for in all no longer than one full of damaged ones.
func TestOfManyRecordsThatTheStoreRefusesFewAreWaitedFor(t *testing.T) {
	w, _ := crowd(t)
	w.atOnce = 100
	w.restart()
	turns := w.fanOut.Turns()
	w.refuses = map[string]bool{}
	refusals := func(n int) (times int) {
		e := several(acme, fmt.Sprint(n, "-"), 1)
		w.refuses[e[0].ID] = true
		position, keys := w.accept(e...)
		for w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}) != nil {
			times++
		}
		w.step(turns)
		return times
	}
	for n := range 10 {
		is(t, "one of the first", refusals(n), fanout.Refusals)
	}
	is(t, "a later one", refusals(10), 1)
	innocent := w.take(several(other, "b", 1)...)
	together := append(innocent, w.take(several(acme, "0-", 1)...)...)
	if err := w.fanOut.Handle(t.Context(), together); !errors.Is(err, fanout.ErrRefused) {
		t.Fatalf("got %v", err)
	}
	if err := w.fanOut.Handle(t.Context(), innocent); err != nil {
		t.Fatal(err)
	}
	is(t, "what came with one", scheduledIn(w.plan), "b0")
	w.later = 10 * time.Minute
	is(t, "long after", refusals(11), fanout.Refusals)
	is(t, "set aside", len(w.aside), 12)
}

// What is undone for another reason is tried until it succeeds, and sets nothing aside.
func TestATurnThatTheDatabaseUndoesSetsNothingAside(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 3)...)
	w.fail["Schedule"] = errors.New("away")
	for range 3 * fanout.Refusals {
		if _, err := turns.Step(t.Context()); !errors.Is(err, w.fail["Schedule"]) {
			t.Fatalf("got %v", err)
		}
	}
	delete(w.fail, "Schedule")
	is(t, "a turn", w.step(turns), "a2 a2")
	is(t, "set aside", len(w.aside), 0)
}

// What sets an event aside waits for the writer as a turn does, and keeps nobody from it meanwhile.
func TestTurnsThatSetAsideYieldOnlyForAsLongAsTheyWork(t *testing.T) {
	w, turns := crowd(t)
	w.room[acme], w.refuses = 0, map[string]bool{"evt_a0": true}
	w.handle(several(acme, "a", 2)...)
	w.room[acme] = 1000
	is(t, "several", w.step(turns), "")
	w.unrouted, w.turnTakes = start, 100*time.Millisecond
	w.beforeTx = func() { w.later += time.Second }
	is(t, "the first alone", w.step(turns), "")
	is(t, "set aside", len(w.aside), 1)
	is(t, "while the log goes first", w.step(turns), "")
	w.later += 400 * time.Millisecond
	is(t, "the next", w.step(turns), "a1 a1")
}

// What an event comes to is counted also if nobody wants it, and that may be what is refused. While a process runs that does not know of turns,
// nothing is left for them.
func TestAnEventThatNobodyWantsIsLeftForTurnsToo(t *testing.T) {
	for _, olderRuns := range []bool{false, true} {
		w, _ := crowd(t)
		w.olderRuns = olderRuns
		position, keys := w.accept(several("third", "c", 1)...)
		for times := range fanout.Refusals + 1 {
			w.fail["Schedule"] = fanout.ErrRefused
			if times == fanout.Refusals {
				delete(w.fail, "Schedule")
			}
			if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); !errors.Is(err, w.fail["Schedule"]) {
				t.Fatal(err)
			}
		}
		is(t, "waits", w.waitingOf("third") != "", !olderRuns)
	}
}
