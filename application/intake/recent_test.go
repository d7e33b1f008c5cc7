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

func TestRecentIsWhatWasAccepted(t *testing.T) {
	within(t, func(w *world) {
		w.one(sample("acme", "evt_1", "a"), sample("acme", "evt_2", "b"))
		w.one(sample("acme", "evt_1", "a")) // a duplicate is not accepted again
		got, all := w.Recent.Take([]intake.EventKey{keyOf("evt_2"), keyOf("evt_1")})
		if want := []intake.Accepted{w.store.events[keyOf("evt_2")], w.store.events[keyOf("evt_1")]}; !all || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %t, want what is stored", got, all)
		}
		if _, all := w.Recent.Take([]intake.EventKey{keyOf("evt_1")}); all {
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
		if _, all := w.Recent.Take([]intake.EventKey{keyOf("evt_2"), keyOf("evt_1")}); all {
			t.Error("an event is known that was not accepted")
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
			if _, all := w.Recent.Take([]intake.EventKey{keyOf(id)}); all != want {
				t.Errorf("%s is known: %t", id, all)
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
				if _, all := w.Recent.Take([]intake.EventKey{keyOf(fmt.Sprint("evt_", i))}); all != want {
					t.Errorf("the event %d is known: %t", i, all)
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
