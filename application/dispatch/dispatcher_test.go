package dispatch_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func TestNoMoreIsOutThanTheProcessAndTheLaneAllow(t *testing.T) {
	for name, c := range map[string]struct{ process, lanes, laneLimit, want int }{
		"the lanes' limits": {100, 5, 4, 20},
		"the process's":     {7, 5, 4, 7},
		"one by one":        {1, 3, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, c.process)
			for i := range c.lanes {
				lane := w.subscribe(fmt.Sprintf("sub_%d", i), c.laneLimit)
				for range 10 {
					w.schedule(lane, "")
				}
			}
			w.step()
			w.step() // nothing has ended, so nothing more is leased
			out := w.take()
			if len(out) != c.want || w.InFlight() != c.want {
				t.Fatalf("%d are out, %d in flight, want %d", len(out), w.InFlight(), c.want)
			}
			for done := 0; len(out) > 0; done++ {
				w.Finish(out[0], succeeded())
				w.step()
				lanes := map[dispatch.Lane]int{}
				for _, l := range out[1:] {
					lanes[l.Lane()]++
				}
				out = append(out[1:], w.take()...)
				if w.InFlight() != len(out) || len(out) > c.process || done > 10*c.lanes {
					t.Fatalf("%d are out, %d in flight", len(out), w.InFlight())
				}
			}
			if w.ended[delivery.StatusSucceeded] != 10*c.lanes || w.InFlight() != 0 {
				t.Errorf("ended %v", w.ended)
			}
		})
	}
}

func TestATurnRecordsAndLeasesInOneTransaction(t *testing.T) {
	w := newWorld(t, 2)
	lane := w.subscribe("sub_1", 2)
	for range 4 {
		w.schedule(lane, "")
	}
	w.step()
	for _, l := range w.take() {
		w.Finish(l, succeeded())
	}
	before := w.transactions
	w.step()
	if got := w.take(); w.transactions != before+1 || len(got) != 2 || w.ended[delivery.StatusSucceeded] != 2 {
		t.Errorf("%d transactions leased %d and recorded %v", w.transactions-before, len(got), w.ended)
	}
}

func TestAFailedTransactionKeepsOutcomesAndWritesThemOnce(t *testing.T) {
	broken := errors.New("away")
	for _, call := range []string{"Save", "NoteHealth", "LeaseReady", "commit"} {
		t.Run(call, func(t *testing.T) {
			w := newWorld(t, 2)
			lane := w.subscribe("sub_1", 1)
			w.schedule(lane, "")
			w.schedule(lane, "")
			w.step()
			l := w.take()[0]
			w.Finish(l, succeeded())
			w.fail[call] = broken
			for range 3 {
				if _, err := w.Step(t.Context()); !errors.Is(err, broken) {
					t.Fatalf("got %v", err)
				}
				if w.InFlight() != 0 || len(w.ended) > 0 || len(w.take()) > 0 {
					t.Fatalf("%d in flight, ended %v", w.InFlight(), w.ended)
				}
			}
			delete(w.fail, call)
			w.step()
			w.step()
			if got := w.rows[l.Delivery.ID]; got.Status != delivery.StatusSucceeded || len(got.changes) != 2 || w.ended[delivery.StatusSucceeded] != 1 || len(w.stale) > 0 {
				t.Errorf("recorded %+v, ended %v, stale %v", got, w.ended, w.stale)
			}
			if next := w.take(); len(next) != 1 || w.InFlight() != 1 {
				t.Errorf("leased %d afterwards", len(next))
			}
		})
	}
}

func TestALookThatWasAskedForIsNotForgottenWhenItFails(t *testing.T) {
	w := newWorld(t, 2)
	w.step()
	w.schedule(w.subscribe("sub_1", 1), "")
	w.Wake()
	w.fail["LeaseReady"] = errors.New("away")
	if _, err := w.Step(t.Context()); err == nil {
		t.Fatal("no error")
	}
	other := w.subscribe("sub_2", 1)
	if _, ok := w.Reserve(other, 1); !ok {
		t.Error("while the lease fails, other lanes get no slots")
	}
	w.Take([]dispatch.Leased{{Delivery: delivery.Delivery{Tenant: other.Tenant, SubscriptionID: other.SubscriptionID}}}, false)
	delete(w.fail, "LeaseReady")
	if w.step(); len(w.take()) != 1 {
		t.Error("what is due is forgotten")
	}
}

// What others made ready is looked for whatever became of the clock since the last look, or during it.
func TestALookThatWasAskedForIsNotPutOffByAClockThatIsSet(t *testing.T) {
	for name, passes := range map[string]struct{ during, after time.Duration }{
		"back since": {time.Millisecond, -time.Hour}, "forward during": {time.Hour, time.Minute}, "forward during, and back": {time.Hour, -time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			w.duringLook = func() { w.now = w.now.Add(passes.during) }
			w.step()
			w.duringLook = nil
			w.now = w.now.Add(passes.after)
			w.schedule(w.subscribe("sub_1", 1), "")
			w.Wake()
			if w.step(); len(w.take()) != 1 {
				t.Error("what is ready is not found")
			}
		})
	}
}

// A lane that was left alone for a moment, since another process leased from it, is not so for an hour.
func TestALaneIsAskedAgainWhenTheClockIsSetBack(t *testing.T) {
	w := newWorld(t, 2)
	l := w.schedule(w.subscribe("sub_1", 1), "")
	w.elsewhere = true
	w.step()
	w.elsewhere = false
	w.now = w.now.Add(-time.Hour)
	due := w.rows[l.Delivery.ID]
	due.DueAt = w.now
	w.rows[due.ID] = due
	if w.step(); len(w.take()) != 1 {
		t.Error("the lane is left alone")
	}
}

func TestAStaleOutcomeIsCountedAndFreesItsSlot(t *testing.T) {
	w := newWorld(t, 2)
	lane := w.subscribe("sub_1", 2)
	w.schedule(lane, "")
	w.schedule(lane, "")
	w.step()
	out := w.take()
	taken := w.rows[out[0].Delivery.ID]
	taken.lease = "inc_2"
	w.rows[taken.ID] = taken
	w.Finish(out[0], answered(410)) // says nothing of the subscription any more
	w.Finish(out[1], succeeded())
	w.fail["commit"] = errors.New("away")
	if _, err := w.Step(t.Context()); err == nil {
		t.Fatal("no error")
	}
	delete(w.fail, "commit")
	w.step()
	if !slices.Equal(w.stale, []string{taken.ID}) || w.InFlight() != 0 || len(w.disabled) > 0 {
		t.Errorf("stale %v, %d in flight, disabled %v", w.stale, w.InFlight(), w.disabled)
	}
	if w.ended[delivery.StatusSucceeded] != 1 || len(w.ended) != 1 || w.rows[taken.ID].Status != delivery.StatusPending {
		t.Errorf("ended %v", w.ended)
	}
}

// Whose delivery was taken over may lease it again before the first outcome is written: then one step has two of it, of which one counts.
func TestALateOutcomeDoesNotHideTheOneThatCounts(t *testing.T) {
	for name, lateFirst := range map[string]bool{"late first": true, "late last": false} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			lane := w.subscribe("sub_1", 2)
			w.schedule(lane, "")
			w.step()
			late := w.take()[0]
			w.takenOver(late)
			w.step()
			again := w.take()[0]
			results := []dispatch.Result{{Leased: late, Outcome: hung()}, {Leased: again, Outcome: answered(410)}}
			if !lateFirst {
				slices.Reverse(results)
			}
			w.FinishTogether(results)
			w.step()
			if !slices.Equal(w.stale, []string{late.Delivery.ID}) || w.ended[delivery.StatusDeadLetter] != 1 || w.disabled[lane] != subscription.ReasonGone {
				t.Errorf("stale %v, ended %v, disabled %v", w.stale, w.ended, w.disabled)
			}
			w.wantTold(event.SubscriptionDisabled, event.DeliveryDeadLettered)
		})
	}
}

// takenOver gives the delivery of a holder that stood still to whoever asks next.
func (w *world) takenOver(l dispatch.Leased) {
	w.Helper()
	q := w.rows[l.Delivery.ID]
	changes, err := q.Abandon(nil, q.leasedAt, w.now)
	if err != nil {
		w.Fatal(err)
	}
	moved, err := dispatch.Move(q.Delivery, changes)
	if err != nil {
		w.Fatal(err)
	}
	w.rows[q.ID] = row{Delivery: moved.After, changes: append(q.changes, changes...), fallen: true}
	w.Wake()
}

func TestAnOutcomeThatCannotFollowHoldsNobodyUp(t *testing.T) {
	w := newWorld(t, 2)
	lane := w.subscribe("sub_1", 2)
	bad, good := w.schedule(lane, incarnation), w.schedule(lane, incarnation)
	bad.Delivery.Status = delivery.StatusParked
	for _, l := range []dispatch.Leased{bad, good} {
		w.hand(l)
		w.Finish(l, succeeded())
	}
	w.step()
	if !slices.Equal(w.stale, []string{bad.Delivery.ID}) || w.InFlight() != 0 || w.ended[delivery.StatusSucceeded] != 1 {
		t.Errorf("stale %v, %d in flight, ended %v", w.stale, w.InFlight(), w.ended)
	}
}

func TestAReceiverThatIsGoneIsDisabled(t *testing.T) {
	w := newWorld(t, 2)
	lane := w.subscribe("sub_1", 2)
	w.schedule(lane, "")
	w.schedule(lane, "")
	w.step()
	out := w.take()
	w.Finish(out[0], answered(410))
	w.Finish(out[1], succeeded())
	w.step()
	if w.disabled[lane] != subscription.ReasonGone || w.ended[delivery.StatusDeadLetter] != 1 {
		t.Errorf("disabled %v, ended %v", w.disabled, w.ended)
	}
}

// A subscription that is damaged cannot be disabled: what came of others is recorded, and what came of its own.
func TestASubscriptionThatCannotBeReadKeepsNoOutcomeFromBeingRecorded(t *testing.T) {
	w := newWorld(t, 2)
	damaged, other := w.subscribe("sub_1", 1), w.subscribe("sub_2", 1)
	w.schedule(damaged, "")
	w.schedule(other, "")
	w.step()
	for _, l := range w.take() {
		outcome := succeeded()
		if l.Lane() == damaged {
			outcome = answered(410)
		}
		w.Finish(l, outcome)
	}
	w.fail["Disable"] = fmt.Errorf("%w: its stream is cut off", dispatch.ErrUnreadable)
	if _, err := w.Step(t.Context()); !errors.Is(err, w.fail["Disable"]) {
		t.Errorf("nobody hears why it was not disabled: %v", err)
	}
	if w.ended[delivery.StatusDeadLetter] != 1 || w.ended[delivery.StatusSucceeded] != 1 || w.InFlight() != 0 {
		t.Errorf("ended %v, in flight %d", w.ended, w.InFlight())
	}
	l := w.schedule(other, incarnation)
	w.hand(l)
	w.Finish(l, succeeded())
	w.step() // says nothing more of it
}

func TestFiveDaysOfOnlyFailuresDisable(t *testing.T) {
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		after    time.Duration
		between  bool // a success on the way
		with     bool // one in the same turn
		disabled bool
	}{
		"just short of it":      {after: 5*day - time.Second},
		"five days":             {after: 5 * day, disabled: true},
		"a success on the way":  {after: 5 * day, between: true},
		"a success in the turn": {after: 5 * day, with: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 4)
			lane := w.subscribe("sub_1", 4)
			attempt := func(outcomes ...delivery.Outcome) {
				for _, o := range outcomes {
					l := w.schedule(lane, incarnation)
					w.hand(l)
					w.Finish(l, o)
				}
				w.step()
			}
			attempt(answered(500))
			if c.between {
				w.now = w.now.Add(day)
				attempt(succeeded())
				attempt(answered(500))
			}
			w.now = start.Add(c.after)
			if c.with {
				attempt(answered(500), succeeded(), answered(500))
			} else {
				attempt(delivery.Outcome{Kind: delivery.KindTimeout})
			}
			want := map[dispatch.Lane]string{}
			if c.disabled {
				want[lane] = subscription.ReasonFailing
			}
			if !maps.Equal(w.disabled, want) {
				t.Errorf("disabled %v", w.disabled)
			}
		})
	}
}

// TestARetryIsInTimeAfterASlowLook: looks rest then, for a minute at most.
func TestARetryIsInTimeAfterASlowLook(t *testing.T) {
	w := newWorld(t, 2)
	lane := w.subscribe("sub_1", 1)
	s := w.lane[lane]
	s.RetrySchedule = []time.Duration{time.Second}
	w.lane[lane] = s
	w.schedule(lane, "")
	w.step()
	l := w.take()[0]
	w.duringLook = func() { w.now, w.duringLook = w.now.Add(20*time.Second), nil }
	w.Wake()
	w.step()
	w.Finish(l, answered(503))
	next, due := w.step(), w.rows[l.Delivery.ID].DueAt
	if !due.Equal(w.now.Add(time.Second)) || next.After(due) {
		t.Fatalf("due at %s, wants to be called at %s", due, next)
	}
	w.now = due
	w.step()
	if next := w.step(); len(w.take()) != 1 {
		t.Errorf("it is due and not sent, but looked for at %s", next)
	}
}

// TestAfterAStallOthersWorkIsFoundSoon, while looks that are always slow go on resting for ten times as long.
func TestAfterAStallOthersWorkIsFoundSoon(t *testing.T) {
	for name, c := range map[string]struct {
		looks int
		soon  bool
	}{"once": {1, true}, "always": {5, false}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 2)
			lane := w.subscribe("sub_1", 1)
			for range c.looks {
				w.now = w.now.Add(time.Hour)
				w.duringLook = func() { w.now, w.duringLook = w.now.Add(20*time.Second), nil }
				w.Wake()
				w.step()
			}
			w.schedule(lane, "") // by another process
			w.Wake()
			next := w.step()
			if rest := next.Sub(w.now); (rest <= 5*time.Second) != c.soon || rest > time.Minute {
				t.Errorf("looks again after %s", rest)
			}
			w.now = next
			if w.step(); len(w.take()) != 1 {
				t.Error("it is not sent then")
			}
		})
	}
}

func TestAFailureIsRetriedWhenItIsDue(t *testing.T) {
	w := newWorld(t, 2)
	w.schedule(w.subscribe("sub_1", 1), "")
	w.step()
	l := w.take()[0]
	w.now = w.now.Add(time.Second)
	w.Finish(l, answered(503))
	w.step() // its commit wakes the dispatcher
	next := w.step()
	due := w.now.Add(time.Minute)
	if got := w.rows[l.Delivery.ID]; !got.DueAt.Equal(due) || got.Status != delivery.StatusRetrying || !next.Equal(due) {
		t.Fatalf("due at %s, wants to be called at %s: %+v", got.DueAt, next, got)
	}
	before := w.transactions
	w.now = due.Add(-time.Millisecond)
	if next := w.step(); !next.Equal(due) || w.transactions != before {
		t.Errorf("looked too early, and again at %s", next)
	}
	w.now = due
	if w.step(); len(w.take()) != 1 {
		t.Error("not leased when it is due")
	}
	before = w.transactions
	if next := w.step(); !next.IsZero() || w.transactions != before {
		t.Errorf("an idle dispatcher looks again at %s, after %d transactions", next, w.transactions-before)
	}
}

func TestNothingOvertakesOlderOnesOfItsLane(t *testing.T) {
	w := newWorld(t, 10)
	slow, other := w.subscribe("sub_slow", 1), w.subscribe("sub_other", 1)
	w.schedule(slow, "")
	w.schedule(slow, "")
	w.duringLease = func() {
		if _, ok := w.Reserve(slow, 5); ok {
			t.Error("reserved in a lane that is being leased from")
		}
	}
	w.step()
	w.duringLease = nil
	if _, ok := w.Reserve(slow, 5); ok {
		t.Error("a newer one takes the slot of one that waits")
	}
	if lease, ok := w.Reserve(other, 1); !ok || lease != incarnation {
		t.Error("another lane waits with it")
	}
	for range 2 {
		w.Finish(w.take()[0], succeeded())
		w.step()
	}
	w.step()
	if _, ok := w.Reserve(slow, 1); !ok {
		t.Error("refused although nothing waits any more")
	}
}

func TestCloseGivesBackAndLeasesNothingMore(t *testing.T) {
	w := newWorld(t, 3)
	lane := w.subscribe("sub_1", 3)
	for range 5 {
		w.schedule(lane, "")
	}
	w.step()
	attempted := <-w.Started()
	w.fail["GiveBack"] = errors.New("away")
	if err := w.Close(t.Context()); err == nil {
		t.Error("no error")
	}
	delete(w.fail, "GiveBack")
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for id, q := range w.rows {
		if held := q.lease != ""; held != (id == attempted.Delivery.ID) || w.InFlight() != 1 {
			t.Errorf("%s is held: %t, %d in flight", id, held, w.InFlight())
		}
	}
	w.Finish(attempted, succeeded())
	w.Wake()
	w.step()
	if _, ok := w.Reserve(w.subscribe("sub_2", 1), 1); ok || len(w.take()) > 0 {
		t.Error("leased after the end")
	}
	if w.rows[attempted.Delivery.ID].Status != delivery.StatusSucceeded {
		t.Error("an outcome was not recorded after the end")
	}
}

func TestAnAbandonedAttemptStaysLeased(t *testing.T) {
	w := newWorld(t, 1)
	l := w.schedule(w.subscribe("sub_1", 1), "")
	w.step()
	w.Abandon(w.take()[0])
	w.step()
	if got := w.rows[l.Delivery.ID]; w.InFlight() != 0 || got.lease != incarnation || len(got.changes) != 1 {
		t.Errorf("%d in flight: %+v", w.InFlight(), got)
	}
}
