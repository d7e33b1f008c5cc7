package fanout_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// damage makes an accepted event unreadable.
func (w *world) damage(keys ...intake.EventKey) {
	for _, key := range keys {
		bad := w.events[key]
		bad.Unreadable = errUnreadable
		w.events[key] = bad
	}
}

// refusals is how often one more event is refused before it is handled.
func (w *world) refusals(damaged bool) (n int) {
	w.Helper()
	position, keys := w.accept(sample(fmt.Sprintf("evt_%d", w.position), event.TargetImported))
	if damaged {
		w.damage(keys...)
	}
	for ; w.fanOut.Handle(w.Context(), []fanout.Record{{Position: position, Keys: keys}}) != nil; n++ {
		if n > 20 {
			w.Fatal("it comes again for ever")
		}
	}
	return n
}

// Everybody's events wait while a record is waited for, and a disk damages many at once.
func TestOfManyRecordsThatCannotBeReadFewAreWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	for i := range 30 {
		want := 0
		if i < 10 {
			want = fanout.Refusals
		}
		is(t, fmt.Sprintf("refusals of record %d", i), w.refusals(true), want)
		is(t, "refusals of one that can be read", w.refusals(false), 0)
	}
	is(t, "set aside", len(w.aside), 30)
	w.later += 10*time.Minute - time.Second
	is(t, "just before the time is over", w.refusals(true), 0)
	w.later += time.Second
	is(t, "when a newer version may have come", w.refusals(true), fanout.Refusals)
	w.later -= time.Hour
	for range 10 {
		is(t, "when the clock was set back", w.refusals(true), fanout.Refusals)
	}
	is(t, "set aside", len(w.aside), 42)
}

// The same holds for what waits for turns, whosever it is.
func TestOfManyTenantsUnreadableEventsThatWaitFewAreWaitedFor(t *testing.T) {
	w, turns := crowd(t)
	for i := range 15 {
		owner := tenant.ID(fmt.Sprintf("tenant-%02d", i))
		for j := range 2 {
			w.subscribe(owner, fmt.Sprintf("sub_%d_%d", i, j), settings("*"))
		}
		w.handle(several(owner, fmt.Sprintf("c%02d", i), 4)...)
		w.damage(intake.EventKey{Tenant: owner, ID: fmt.Sprintf("evt_c%02d3", i)})
	}
	is(t, "who waits", len(w.deferred), 15)
	refused := 0
	for len(w.deferred) > 0 && refused < 200 {
		if _, err := turns.Step(t.Context()); err != nil {
			refused++
		}
	}
	is(t, "set aside", len(w.aside), 15)
	is(t, "refused", refused, 10*fanout.Refusals)
}

// While processes are replaced one after the other, the newer ones read what the older ones refuse.
func TestWhatAnotherProcessReadsIsNotRefusedInVain(t *testing.T) {
	w, turns := crowd(t)
	for range 30 {
		position, keys := w.accept(sample(fmt.Sprintf("evt_%d", w.position), event.TargetImported))
		w.damage(keys...)
		for range fanout.Refusals - 1 {
			if w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}) == nil {
				t.Fatal("an event was set aside that another process was about to read")
			}
		}
	}
	is(t, "refusals of one that nobody reads", w.refusals(true), fanout.Refusals)
	for i := range 60 {
		name := fmt.Sprintf("c%02d", i)
		w.handle(several(acme, name, 4)...)
		w.damage(intake.EventKey{Tenant: acme, ID: "evt_" + name + "2"})
		for range fanout.Refusals - 1 {
			if _, err := turns.Step(t.Context()); err == nil {
				t.Fatalf("of what waits, event %d was set aside that another process was about to read", i)
			}
		}
		w.deferred = nil
		if i%2 == 0 { // it sees that nothing waits; else the next of the tenant's
			w.step(turns)
		}
	}
	is(t, "set aside", len(w.aside), 1)
}

// A thousand changes that cannot be read hold nobody up for hours.
func TestOfManyChangesThatCannotBeReadFewAreWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	w.handle(sample("evt_0", event.AppointmentStarted)) // from here on changes are followed
	for range 30 {
		w.change("sub_1", subscription.FilterChanged{At: start, EventTypes: subscription.Filter{"*"}})
		last := &w.changes[len(w.changes)-1]
		last.Change, last.Unreadable = nil, errors.New("damaged")
	}
	position, keys := w.accept(sample("evt_1", event.AppointmentStarted))
	refused := 0
	for w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}) != nil && refused < 300 {
		refused++
	}
	is(t, "refused", refused, 10*fanout.Refusals)
	is(t, "told of", len(w.unreadable), 30)
	is(t, "scheduled", len(w.plan.Scheduled), 1)
}
