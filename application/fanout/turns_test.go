package fanout_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const other tenant.ID = "other"

// crowd is a world that schedules four deliveries at once; acme's events go to two subscriptions, the other tenant's to one.
func crowd(t *testing.T) (*world, *fanout.Turns) {
	w := newWorld(t)
	w.atOnce = 4
	w.restart()
	w.subscribe(acme, "sub_1", settings("visit_report.*"))
	w.subscribe(acme, "sub_2", settings("*"))
	w.subscribe(other, "sub_3", settings("*"))
	return w, w.fanOut.Turns()
}

func several(owner tenant.ID, name string, n int) (events []event.Event) {
	for i := range n {
		e := event.Sample(event.VisitReportApproved, owner)
		e.ID = fmt.Sprintf("evt_%s%d", name, i)
		events = append(events, e)
	}
	return events
}

// step gives a turn, and says what was scheduled in it: the events, each as often as it has deliveries.
func (w *world) step(turns *fanout.Turns) string {
	w.Helper()
	before := len(w.plans)
	if _, err := turns.Step(w.Context()); err != nil {
		w.Fatal(err)
	}
	return scheduledIn(w.plans[before:]...)
}

func scheduledIn(plans ...fanout.Plan) string {
	var ids []string
	for _, p := range plans {
		for _, s := range p.Scheduled {
			ids = append(ids, strings.TrimPrefix(s.Delivery.EventID, "evt_"))
		}
	}
	return strings.Join(ids, " ")
}

// waitingOf is the events that wait, oldest first.
func (w *world) waitingOf(owner tenant.ID) string {
	var ids []string
	for _, d := range w.deferred {
		for _, e := range d.Events {
			if d.Tenant == owner {
				ids = append(ids, fmt.Sprintf("%s@%d.%d", strings.TrimPrefix(e.ID, "evt_"), d.Position, e.Place))
			}
		}
	}
	return strings.Join(ids, " ")
}

func is[V comparable](t testing.TB, what string, got, want V) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func TestTurnsGoRound(t *testing.T) {
	w, turns := crowd(t)
	is(t, "at once", scheduledIn(w.handle(slices.Concat(several(acme, "a", 5), several(other, "b", 5))...)), "a0 a0 b0 b1")
	at := w.position
	is(t, "acme waits", w.waitingOf(acme), fmt.Sprintf("a1@%d.1 a2@%d.2 a3@%d.3 a4@%d.4", at, at, at, at))
	is(t, "the other waits", w.waitingOf(other), fmt.Sprintf("b2@%d.7 b3@%d.8 b4@%d.9", at, at, at))
	is(t, "first", w.step(turns), "a1 a1 a2 a2")
	is(t, "then the other", w.step(turns), "b2 b3 b4")
	is(t, "then the first again", w.step(turns), "a3 a3 a4 a4")
	next, err := turns.Step(t.Context())
	if err != nil || !next.Equal(start.Add(2*time.Second)) || len(w.deferred) != 0 {
		t.Errorf("with nothing left: next at %s, %v, and there waits %+v", next, err, w.deferred)
	}
	is(t, "all is handed over", len(w.taken), 15)
}

func TestWhatComesLaterWaitsBehind(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 3)...)
	is(t, "the next record", scheduledIn(w.handle(slices.Concat(several(acme, "b", 1), several(other, "c", 1))...)), "c0")
	is(t, "a turn", w.step(turns), "a2 a2 b0 b0")
	is(t, "waiting", w.waitingOf(acme), "")
	is(t, "afterwards", scheduledIn(w.handle(several(acme, "d", 1)...)), "d0 d0")
}

// A tenant's events may all wait from a process's start on: nobody else tells of a subscription of theirs that gets nothing.
func TestALostSubscriptionOfATenantThatWaitsIsToldOf(t *testing.T) {
	w, _ := crowd(t)
	w.handle(several(acme, "a", 3)...)
	lane := dispatch.Lane{Tenant: acme, SubscriptionID: "sub_2"}
	w.changes[1].Unreadable, w.lost = errors.New("damaged"), map[dispatch.Lane]bool{lane: true}
	w.restart()
	is(t, "a turn", w.step(w.fanOut.Turns()), "a2")
	is(t, "told of", fmt.Sprint(w.toldLost), fmt.Sprint([]dispatch.Lane{lane}))
	is(t, "afterwards", scheduledIn(w.handle(several(acme, "b", 1)...)), "b0")
	is(t, "told of", len(w.toldLost), 1)
}

// A record that many turns are needed for is not read whole for each of them.
func TestATurnReadsNoMoreThanItCanUse(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 120)...)
	w.loaded = 0
	is(t, "a turn", w.step(turns), "a2 a2 a3 a3")
	if w.loaded > 50 {
		t.Errorf("%d events were read", w.loaded)
	}
	for len(w.deferred) > 0 {
		w.step(turns)
	}
	is(t, "scheduled in all", len(strings.Fields(scheduledIn(w.plans...))), 240)
}

// Records of an event each are written as fast as records of hundreds.
func TestATurnTakesWhatItMayFromManyRecords(t *testing.T) {
	w, _ := crowd(t)
	w.atOnce = 100
	w.restart()
	turns := w.fanOut.Turns()
	w.room[acme] = 0
	for n := range 200 {
		w.handle(several(acme, fmt.Sprint("a", n, "-"), 1)...)
	}
	w.room[acme] = 1000
	is(t, "scheduled in a turn", len(strings.Fields(w.step(turns))), 100)
}

func TestAnEventForMoreThanIsScheduledAtOnceHasATurnOfItsOwn(t *testing.T) {
	w, turns := crowd(t)
	for n := range 4 {
		w.subscribe(acme, fmt.Sprintf("sub_more_%d", n), settings("*"))
	}
	is(t, "at once", scheduledIn(w.handle(several(acme, "a", 2)...)), "")
	is(t, "a turn", w.step(turns), "a0 a0 a0 a0 a0 a0")
	is(t, "the next", w.step(turns), "a1 a1 a1 a1 a1 a1")
}

// While the log is read as soon as it is written nobody waits for anybody, whatever a tenant had before.
func TestATenantThatHadMuchWaitsOnlyWhileTheLogIsBehind(t *testing.T) {
	for _, behind := range []bool{true, false} {
		w, _ := crowd(t)
		var got []string
		for n := range 4 {
			position, keys := w.accept(several(acme, fmt.Sprint("a", n), 1)...)
			if !behind {
				a := w.events[keys[0]]
				a.At = start
				w.events[keys[0]] = a
			}
			if err := w.fanOut.Handle(t.Context(), []fanout.Record{{Position: position, Keys: keys}}); err != nil {
				t.Fatal(err)
			}
			got = append(got, scheduledIn(w.plan))
		}
		want := map[bool]string{true: "a00 a00|a10 a10||", false: "a00 a00|a10 a10|a20 a20|a30 a30"}[behind]
		is(t, fmt.Sprintf("behind %t", behind), strings.Join(got, "|"), want)
	}
}

func TestATurnThatAnotherProcessHas(t *testing.T) {
	w, turns := crowd(t)
	w.handle(slices.Concat(several(acme, "a", 4), several(other, "b", 3))...)
	w.elsewhere = map[tenant.ID]bool{acme: true}
	next, err := turns.Step(t.Context())
	if err != nil || !next.Equal(start.Add(100*time.Millisecond)) {
		t.Errorf("next at %s, %v", next, err)
	}
	is(t, "the other's turn", w.step(turns), "b2")
	w.elsewhere = nil
	is(t, "once it is free", w.step(turns), "a1 a1 a2 a2")
}

// Between turns the log goes first, for four times as long as a turn took.
func TestTurnsYieldToTheLog(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 20)...)
	w.unrouted, w.turnTakes = start, time.Second
	is(t, "the first turn", w.step(turns), "a2 a2 a3 a3")
	waits := func(left, pause time.Duration) {
		t.Helper()
		w.later = 5*time.Second - left
		before := len(w.plans)
		if next, err := turns.Step(t.Context()); err != nil || len(w.plans) > before || !next.Equal(start.Add(w.later+pause)) {
			t.Errorf("%s before the next turn: next at %s, %v, %d plans", left, next, err, len(w.plans)-before)
		}
	}
	waits(4*time.Second, 10*time.Millisecond)
	waits(time.Millisecond, time.Millisecond)
	w.later = 5 * time.Second
	is(t, "afterwards", w.step(turns), "a4 a4 a5 a5")
	w.unrouted = time.Time{}
	is(t, "at once while the log is read", w.step(turns), "a6 a6 a7 a7")
	w.unrouted, w.later = start, -time.Hour
	is(t, "at once when the clock was set back", w.step(turns), "a8 a8 a9 a9")
	w.later, w.turnTakes = 0, time.Minute
	w.step(turns)
	w.later += 5*time.Second + 1
	is(t, "after a long turn", w.step(turns), "a12 a12 a13 a13")
	w.fail["OldestUnrouted"] = errors.New("away")
	if _, err := turns.Step(t.Context()); !errors.Is(err, w.fail["OldestUnrouted"]) {
		t.Errorf("got %v", err)
	}
}

// A turn that waits for the writer keeps nobody from it: where it is busy, the log would else go first for many times as long as a turn works.
func TestTurnsYieldOnlyForAsLongAsTheyWork(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 20)...)
	w.unrouted, w.turnTakes = start, 100*time.Millisecond
	w.beforeTx = func() { w.later += time.Second }
	is(t, "the first turn", w.step(turns), "a2 a2 a3 a3")
	is(t, "while the log goes first", w.step(turns), "")
	w.later += 400 * time.Millisecond
	is(t, "the next turn", w.step(turns), "a4 a4 a5 a5")
}

// What is deferred wakes the loop of turns, once it is committed.
func TestWhatIsDeferredWakesTheTurns(t *testing.T) {
	w, turns := crowd(t)
	woken := func() bool {
		select {
		case <-turns.Loop().Wake:
			return true
		default:
			return false
		}
	}
	w.handle(several(acme, "a", 1)...)
	is(t, "woken for nothing", woken(), false)
	w.commitErr = errors.New("the commit failed")
	w.handle(several(acme, "b", 4)...)
	is(t, "woken for what was undone", woken(), false)
	w.commitErr = nil
	w.restart()
	turns = w.fanOut.Turns()
	w.handle(several(acme, "c", 4)...)
	is(t, "woken", woken(), true)
}

func TestNothingIsDeferredBesideAProcessOfBefore(t *testing.T) {
	w, _ := crowd(t)
	w.olderRuns = true
	is(t, "beside it", scheduledIn(w.handle(several(acme, "a", 3)...)), "a0 a0 a1 a1 a2 a2")
	w.olderRuns = false
	is(t, "once it is gone", scheduledIn(w.handle(several(other, "b", 5)...)), "b0 b1 b2 b3")
	w.handle(several(other, "c", 1)...)
	is(t, "asked", len(w.askedSince), 2)
	is(t, "asked for those seen since", w.askedSince[0], start.Add(-30*time.Second))
}

// An event that cannot be handled is set aside alone, as it would be without a turn; when it is not known which of those
// it was that were tried together, they are tried one by one.
func TestPoisonAmongWhatWaits(t *testing.T) {
	aside := func(w *world) string {
		var ids []string
		for _, p := range w.plans {
			for _, e := range p.SetAside {
				if !strings.Contains(e.Reason, "panicked") || strings.Contains(e.Reason, "\n") { // tenants see it, and no stack
					t.Errorf("%s was set aside for %q", e.EventID, e.Reason)
				}
				ids = append(ids, strings.TrimPrefix(e.EventID, "evt_"))
			}
		}
		return strings.Join(ids, " ")
	}
	w, turns := crowd(t)
	w.handle(several(acme, "a", 5)...)
	w.panicsAt["evt_a2"] = true
	is(t, "a turn", w.step(turns), "a3 a3")
	is(t, "set aside", aside(w), "a2")
	is(t, "counted", w.plan.Tallies[0].SetAside+w.plan.Tallies[0].Deliveries, 4)
	is(t, "the next turn", w.step(turns), "a4 a4")

	w, turns = crowd(t)
	w.handle(several(acme, "a", 60)...)
	w.panicsAt["ResolveFor"] = true
	is(t, "a turn", w.step(turns), "")
	is(t, "not set aside with others", aside(w), "")
	is(t, "the first alone", w.step(turns), "")
	is(t, "set aside", aside(w), "a2")
	is(t, "counted for each subscription", w.plan.Tallies[0].Counted, reconciliation.Counted{Events: 1, Expected: 2, SetAside: 2})
	is(t, "the last of them alone", w.step(turns), "")
	is(t, "set aside, too", aside(w), "a2 a3")
	delete(w.panicsAt, "ResolveFor")
	is(t, "and then as always", w.step(turns), "a4 a4 a5 a5")
	is(t, "slots that stay taken", w.inFlight, 0)

	w, turns = crowd(t)
	w.handle(several(acme, "a", 4)...)
	w.panicsAt["ResolveFor"] = true
	is(t, "a turn", w.step(turns), "")
	begun := 0
	w.beforeTx = func() {
		if begun++; begun == 2 { // between the turn that panics and what comes of it
			w.deferred[0].Events = w.deferred[0].Events[1:]
		}
	}
	is(t, "the first alone", w.step(turns), "")
	is(t, "nothing set aside for one that another process has settled", aside(w), "")

	w, turns = crowd(t)
	w.handle(several(acme, "a", 4)...)
	w.panicsAt["SubscriptionsAt"] = true
	if _, err := turns.Step(t.Context()); err == nil || !strings.Contains(err.Error(), "no subscriptions") {
		t.Errorf("got %v", err)
	}
	is(t, "nothing set aside before one was tried", aside(w), "")
	is(t, "waiting", len(w.deferred), 1)
}

// An event that cannot be read is waited for, and then set aside, as it is without a turn.
func TestAnUnreadableEventAmongWhatWaits(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 5)...)
	bad := w.events[intake.EventKey{Tenant: acme, ID: "evt_a3"}]
	bad.Unreadable = errors.New("damaged")
	w.events[bad.Key()] = bad
	refused := 0
	for ; len(w.deferred) > 0; refused++ {
		_, err := turns.Step(t.Context())
		if err == nil {
			break
		}
		if !errors.Is(err, bad.Unreadable) || refused > 20 {
			t.Fatal(err)
		}
	}
	is(t, "refused", refused, 6)
	is(t, "scheduled", scheduledIn(w.plan), "a2 a2")
	is(t, "set aside", len(w.plan.SetAside), 1)
	is(t, "the next turn", w.step(turns), "a4 a4")
}

// Names that are damaged are told of once what was found without them is fanned out; an event that is gone keeps its place.
func TestWhatWaitsWithoutItsNames(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 5)...)
	damaged := errors.New("damaged")
	w.deferred[0].Unreadable = damaged
	w.deferred[0].Events = fanout.FromPlace(1, w.deferred[0].Events)
	w.commitErr = errors.New("away")
	is(t, "a turn that is undone", w.step(turns), "a2 a2 a3 a3")
	is(t, "told of while nothing is committed", len(w.damaged), 0)
	w.commitErr = nil
	is(t, "a turn", w.step(turns), "a2 a2 a3 a3")
	is(t, "the next turn", w.step(turns), "a4 a4")
	is(t, "waiting", w.waitingOf(acme), "")
	if len(w.damaged) != 1 || !errors.Is(w.damaged[0].Unreadable, damaged) || len(w.damaged[0].Keys) != 3 || w.damaged[0].Keys[0].ID != "evt_a2" {
		t.Errorf("told of %+v", w.damaged)
	}
}

// Tenants that have turns in between do not make the waiting begin anew, nor end it.
func TestUnreadableEventsOfSeveralTenantsThatWait(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 4)...)
	w.handle(several(other, "b", 6)...)
	for _, key := range []intake.EventKey{{Tenant: acme, ID: "evt_a2"}, {Tenant: other, ID: "evt_b4"}} {
		bad := w.events[key]
		bad.Unreadable = errors.New("damaged")
		w.events[key] = bad
	}
	refused := 0
	for len(w.deferred) > 0 && refused < 40 {
		if _, err := turns.Step(t.Context()); err != nil {
			refused++
		}
	}
	is(t, "refused", refused, 12)
	is(t, "waiting", w.waitingOf(acme)+w.waitingOf(other), "")
	is(t, "scheduled", scheduledIn(w.plans...), "a0 a0 a1 a1 b0 b1 b2 b3 a3 a3 b5")
}

func TestATurnThatFailsLosesNothing(t *testing.T) {
	broken := errors.New("away")
	for _, call := range []string{"NextTurn", "DeferredOf", "Events", "SubscriptionsAt", "ResolveFor", "Schedule"} {
		t.Run(call, func(t *testing.T) {
			w, turns := crowd(t)
			w.handle(several(acme, "a", 4)...)
			waits := w.waitingOf(acme)
			w.fail[call] = broken
			if _, err := turns.Step(t.Context()); !errors.Is(err, broken) {
				t.Errorf("got %v", err)
			}
			is(t, "waiting", w.waitingOf(acme), waits)
			is(t, "handed over", len(w.taken), 4)
			delete(w.fail, call)
			is(t, "the next turn", w.step(turns), "a2 a2 a3 a3")
		})
	}
}

// A tally spans the positions of the records that a turn takes events of.
func TestATurnsTallySpansItsRecords(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 3)...)
	w.handle(several(acme, "b", 1)...)
	first, last := w.deferred[0].Position, w.deferred[1].Position
	is(t, "a turn", w.step(turns), "a2 a2 b0 b0")
	if tally := w.plan.Tallies[0]; first == last || tally.FirstPosition != first || tally.LastPosition != last {
		t.Errorf("counted %+v, of records %d to %d", tally, first, last)
	}
}

// Once those that were tried together have been tried alone, as many go at once as before.
func TestAfterPoisonTurnsAreAsLongAsBefore(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 10)...)
	w.panicsAt["ResolveFor"] = true
	is(t, "a turn", w.step(turns), "")
	delete(w.panicsAt, "ResolveFor")
	is(t, "the first alone", w.step(turns), "a2 a2")
	is(t, "the other alone", w.step(turns), "a3 a3")
	is(t, "and then as always", w.step(turns), "a4 a4 a5 a5")
}

// Events that are governed by different subscriptions are told apart, however much others change in between.
func TestAChangeBehindManyOthersGovernsWhatWaits(t *testing.T) {
	for name, between := range map[string]int{"a few": 1, "as many as are read at once": 1000, "more": 2500} {
		t.Run(name, func(t *testing.T) {
			w, _ := crowd(t)
			w.atOnce = 100
			w.restart()
			turns := w.fanOut.Turns()
			w.room[acme] = 0
			w.handle(several(acme, "a", 1)...)
			for i, name := range []string{"b", "c", "d"} {
				for n := range between {
					pattern := []string{"*", "target.*"}[n%2]
					w.change("sub_3", subscription.FilterChanged{At: start, EventTypes: subscription.Filter{pattern}})
				}
				w.subscribe(acme, fmt.Sprintf("sub_%d", 4+i), settings("*"))
				w.handle(several(acme, name, 1)...)
			}
			w.room[acme] = 100
			for len(w.deferred) > 0 {
				w.step(turns)
			}
			is(t, "scheduled", scheduledIn(w.plans...), "a0 a0 b0 b0 b0 c0 c0 c0 c0 d0 d0 d0 d0 d0")
		})
	}
}

// What waits for long is scheduled as fast as ever, whether there is room or none.
func TestLateEventsAreScheduledTogether(t *testing.T) {
	w, turns := full(t, 0)
	w.room[acme] = 2
	is(t, "while it is new", w.step(turns), "a1 a1")
	w.room[acme] = 0
	w.later += time.Minute
	is(t, "when it is late", w.step(turns), "a2 a2 a3 a3")
}

// A second record that cannot be read is waited for as long as the first.
func TestEachUnreadableRecordThatWaitsIsWaitedFor(t *testing.T) {
	w, turns := crowd(t)
	w.handle(several(acme, "a", 4)...)
	w.handle(several(acme, "b", 1)...)
	for _, id := range []string{"evt_a2", "evt_b0"} {
		bad := w.events[intake.EventKey{Tenant: acme, ID: id}]
		bad.Unreadable = errors.New("damaged")
		w.events[bad.Key()] = bad
	}
	refused := 0
	for len(w.deferred) > 0 && refused < 40 {
		if _, err := turns.Step(t.Context()); err != nil {
			refused++
		}
	}
	is(t, "refused", refused, 12)
}
