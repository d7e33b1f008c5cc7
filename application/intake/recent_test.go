package intake_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
)

func keyOf(id string) intake.EventKey { return intake.EventKey{Tenant: "acme", ID: id} }

// knows takes the event.
func knows(w *world, id string) bool {
	_, missing := w.Recent.Take([]intake.EventKey{keyOf(id)})
	return len(missing) == 0
}

func TestRecentIsWhatWasAccepted(t *testing.T) {
	within(t, func(w *world) {
		w.one(sample("acme", "evt_1", "a"), sample("acme", "evt_2", "b"))
		w.one(sample("acme", "evt_1", "a")) // a duplicate is not accepted again
		got, missing := w.Recent.Take([]intake.EventKey{keyOf("evt_2"), keyOf("evt_3"), keyOf("evt_1")})
		want := []intake.Accepted{w.store.events[keyOf("evt_2")], {}, w.store.events[keyOf("evt_1")]}
		if !reflect.DeepEqual(got, want) || !slices.Equal(missing, []intake.EventKey{keyOf("evt_3")}) {
			t.Errorf("got %+v without %v, want what is stored", got, missing)
		}
		if knows(w, "evt_1") {
			t.Error("an event is there twice")
		}
	})
}

// What is not durable is not known, and what the store has is read from there.
func TestRecentIsNothingElse(t *testing.T) {
	within(t, func(w *world) {
		w.store.failCommit = errors.New("the disk is full")
		w.one(sample("acme", "evt_1", "a"))
		w.store.failCommit = nil
		w.one(sample("acme", "evt_2", "b"))
		if knows(w, "evt_1") || !knows(w, "evt_2") {
			t.Error("not what was accepted is known")
		}
	})
}

// A thousand long reports would be hundreds of megabytes.
func TestLongReportsAreNotRemembered(t *testing.T) {
	within(t, func(w *world) {
		for id, length := range map[string]int{"evt_1": 4 << 10, "evt_2": 4<<10 + 1} {
			e := sample("acme", id, "a")
			report := *e.VisitReport
			report.Summary = new(strings.Repeat("x", length))
			e.VisitReport = &report
			w.one(e)
		}
		for id, want := range map[string]bool{"evt_1": true, "evt_2": false} {
			if known := knows(w, id); known != want {
				t.Errorf("%s is known: %t", id, known)
			}
		}
	})
}

// Who is behind takes the oldest next, so these are kept; for a second, since somebody else may have taken them.
func TestRecentIsBounded(t *testing.T) {
	within(t, func(w *world) {
		emit := func(first, last int) {
			var events []event.Event
			for i := first; i <= last; i++ {
				events = append(events, sample("acme", fmt.Sprint("evt_", i), "a"))
			}
			for part := range slices.Chunk(events, 500) {
				w.one(part...)
			}
		}
		known := func(want map[int]bool) {
			t.Helper()
			for i, want := range want {
				if known := knows(w, fmt.Sprint("evt_", i)); known != want {
					t.Errorf("the event %d is known: %t", i, known)
				}
			}
		}
		emit(0, 2000)
		known(map[int]bool{0: true, 1999: true, 2000: false})
		emit(2001, 2002) // one in the place of the first
		known(map[int]bool{2001: true, 2002: false})
		<-time.After(time.Second) // of fake time
		emit(2003, 2004)
		known(map[int]bool{1: false, 2: false, 3: true, 2003: true, 2004: true})
	})
}
