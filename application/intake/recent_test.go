package intake_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

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

func TestRecentIsBounded(t *testing.T) {
	within(t, func(w *world) {
		var events []event.Event
		for i := range 1001 {
			events = append(events, sample("acme", fmt.Sprint("evt_", i), "a"))
		}
		w.one(events...)
		for i, want := range map[int]bool{0: false, 1: true, 1000: true} {
			if _, all := w.Recent.Take([]intake.EventKey{keyOf(fmt.Sprint("evt_", i))}); all != want {
				t.Errorf("the event %d is known: %t", i, all)
			}
		}
	})
}
