package dispatch_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// holding makes a lane of the limit with n deliveries due and lets turns lease what they may; out is what has begun.
func holding(t *testing.T, limit, n int) (w *world, lane dispatch.Lane, out []dispatch.Leased) {
	t.Helper()
	w = newWorld(t, 100)
	lane = w.subscribe("sub_1", limit)
	for range n {
		w.schedule(lane, "")
	}
	w.fill(&out)
	if len(out) != limit || w.held() == 0 {
		t.Fatalf("%d are out and %d are held", len(out), w.held())
	}
	return w, lane, out
}

// held is how many are leased and not out.
func (w *world) held() (n int) {
	for _, q := range w.rows {
		if q.lease != "" {
			n++
		}
	}
	return n - w.InFlight()
}

func TestAnAttemptThatEndsIsFollowedWithoutATurn(t *testing.T) {
	w, _, out := holding(t, 2, 10)
	transactions := w.transactions
	for i := range 10 {
		if want := fmt.Sprintf("dlv_%04d", i+1); out[i].Delivery.ID != want {
			t.Fatalf("%s is the next, not %s", out[i].Delivery.ID, want)
		}
		w.Finish(out[i], succeeded())
		out = append(out, w.take()...)
		if n := w.InFlight(); n > 2 || n != len(out)-i-1 {
			t.Fatalf("%d are out", n)
		}
	}
	if w.transactions != transactions || len(out) != 10 {
		t.Errorf("%d were sent with %d transactions between them", len(out), w.transactions-transactions)
	}
	if w.step(); w.ended[delivery.StatusSucceeded] != 10 || w.transactions != transactions+1 {
		t.Errorf("recorded %v in %d transactions", w.ended, w.transactions-transactions)
	}
}

// What follows an attempt that brought no answer is not for its sender to begin at once: such ones begin apart from each other.
func TestWhatFollowsAnAttemptWithoutAnAnswerIsStarted(t *testing.T) {
	w, _, out := holding(t, 2, 10)
	_, more := w.Dispatcher.Finish(out[0], delivery.Outcome{Kind: delivery.KindResponseTooLarge, StartedAt: start})
	if begun := w.take(); more || len(begun) != 1 || !begun[0].Unanswered || w.InFlight() != 2 {
		t.Errorf("its sender gets one: %t; started %+v, with %d in flight", more, begun, w.InFlight())
	}
}

// The last is the one that ended last, not the one that was handed in last.
func TestWhatFollowsASuccessBeginsAtOnceWhateverIsHandedInLate(t *testing.T) {
	w, _, out := holding(t, 4, 10)
	success, lost := succeeded(), delivery.Outcome{Kind: delivery.KindConnectionLost, StartedAt: start}
	last := lost
	success.Duration, last.Duration = time.Millisecond, time.Second
	w.Finish(out[0], success)
	w.take()
	w.FinishTogether([]dispatch.Result{{Leased: out[1], Outcome: lost}})
	if begun := w.take(); len(begun) != 1 || begun[0].Unanswered {
		t.Errorf("after a success, %+v begin", begun)
	}
	w.FinishTogether([]dispatch.Result{{Leased: out[2], Outcome: last}, {Leased: out[3], Outcome: lost}})
	if begun := w.rest(3); len(begun) == 0 || !begun[0].Unanswered {
		t.Errorf("after an attempt that brought no answer, %+v begin", begun)
	}
}

// What is held begins with the next turn in a slot that no outcome of its lane has freed.
func TestWhatIsHeldBeginsInASlotThatWasGivenUp(t *testing.T) {
	w, _, out := holding(t, 2, 10)
	w.Abandon(out[0])
	w.step()
	if begun := w.take(); len(begun) != 1 || begun[0].Delivery.ID != "dlv_0003" || w.InFlight() != 2 {
		t.Errorf("begun %+v, with %d in flight", begun, w.InFlight())
	}
}

func TestWhatEndsWhileATransactionWaitsToBeginIsRecordedByIt(t *testing.T) {
	w, _, out := holding(t, 2, 10)
	transactions := w.transactions
	w.begins = func() { w.Finish(out[1], succeeded()) }
	w.Finish(out[0], succeeded())
	if w.step(); w.ended[delivery.StatusSucceeded] != 2 || w.transactions != transactions+1 {
		t.Errorf("recorded %v in %d transactions", w.ended, w.transactions-transactions)
	}
}

func TestWhatIsHeldIsBounded(t *testing.T) {
	w, _, out := holding(t, 4, 800)
	first := w.held()
	if first > 64 {
		t.Errorf("%d are held of a receiver that nothing is known of", first)
	}
	most := 0
	for range 300 {
		w.Finish(out[0], succeeded())
		out = append(out[1:], w.take()...)
		w.fill(&out)
		most = max(most, w.held())
	}
	if most <= first || most > 400 {
		t.Errorf("at most %d were held of a receiver that is quick, by a process with 100 slots", most)
	}
}

// A receiver that answers as if it were slow is held no more for than it gets soon.
func TestASlowReceiverIsHeldLittleFor(t *testing.T) {
	w, _, out := holding(t, 2, 1000)
	for range 100 {
		w.now = w.now.Add(300 * time.Millisecond)
		for _, l := range out {
			w.Finish(l, succeeded())
		}
		out = w.take()
		w.fill(&out)
		out = slices.DeleteFunc(out, func(l dispatch.Leased) bool { return w.rows[l.Delivery.ID].lease == "" })
	}
	if n := w.held(); n > 4 {
		t.Errorf("%d are held of a receiver that takes 7 a second", n)
	}
}

// A turn keeps no more for a receiver than it takes in a twentieth of a second, so that other processes may send the rest.
func TestNoMoreIsHeldThanTheReceiverTakesSoon(t *testing.T) {
	for took, most := range map[time.Duration]int{100 * time.Millisecond: 8, 25 * time.Millisecond: 32, time.Second: 1, 5 * time.Second: 0} {
		t.Run(took.String(), func(t *testing.T) {
			w, _, out := holding(t, 16, 1000)
			answer := succeeded()
			answer.Duration = took
			for i := range 200 {
				w.Finish(out[0], answer)
				out = append(out[1:], w.take()...)
				if w.fill(&out); i >= 100 && w.held() > most {
					t.Fatalf("%d are held, want at most %d", w.held(), most)
				}
			}
		})
	}
}

// The one slot of a lane does not wait for a lease after each attempt, unless an attempt takes so long that a lease hardly matters.
func TestOneIsHeldForTheOnlySlot(t *testing.T) {
	for took, want := range map[time.Duration]int{60 * time.Millisecond: 1, 250 * time.Millisecond: 1, 300 * time.Millisecond: 0} {
		t.Run(took.String(), func(t *testing.T) {
			w, _, out := holding(t, 1, 100)
			answer := succeeded()
			answer.Duration = took
			for range 90 {
				w.Finish(out[0], answer)
				out = append(out[1:], w.take()...)
				w.fill(&out)
			}
			if n := w.held(); n != want {
				t.Errorf("%d are held, want %d", n, want)
			}
		})
	}
}

func TestWhatWaitsTooLongIsGivenBack(t *testing.T) {
	for name, pass := range map[string]time.Duration{"time passes": 501 * time.Millisecond, "the clock is set back": -time.Second} {
		t.Run(name, func(t *testing.T) {
			w, _, out := holding(t, 2, 10)
			next := w.step()
			if pass > 0 && (next.IsZero() || next.After(w.now.Add(pass))) {
				t.Errorf("the next turn comes at %s", next)
			}
			w.now = w.now.Add(pass)
			if w.Finish(out[0], succeeded()); len(w.take()) != 0 {
				t.Fatal("what was leased long ago is sent")
			}
			due := w.rows["dlv_0003"].DueAt
			w.step()
			if q := w.rows["dlv_0003"]; q.lease != "" || q.Version != 1 || !q.DueAt.Equal(due) || w.held() != 0 {
				t.Errorf("%d are held, and %+v", w.held(), q)
			}
			w.now = w.now.Add(time.Second) // the clock is right again
			if w.step(); len(w.Started()) == 0 {
				t.Fatal("what was given back is not leased again")
			}
			if l := w.take()[0]; l.Delivery.ID != "dlv_0003" {
				t.Errorf("%s is next, and dlv_0003 is older", l.Delivery.ID)
			}
		})
	}
}

func TestAReceiverInTroubleIsHeldNothingFor(t *testing.T) {
	for name, outcome := range map[string]delivery.Outcome{"fails": answered(500), "asks for less": answered(429), "hangs": hung()} {
		t.Run(name, func(t *testing.T) {
			w, _, out := holding(t, 4, 300)
			if w.Finish(out[0], outcome); len(w.take()) != 0 {
				t.Error("another is sent at once")
			}
			w.step()
			if n := w.held(); n != 0 {
				t.Errorf("%d are held", n)
			}
			out = out[1:]
			w.fill(&out)
			for sent := 0; w.held() == 0; sent++ {
				if sent > 200 {
					t.Fatal("nothing is ever held again")
				}
				w.Finish(out[0], succeeded())
				out = out[1:]
				if w.fill(&out); w.held() > 0 && sent < 60 {
					t.Errorf("held again after %d successes", sent)
				}
			}
		})
	}
}

func TestNothingHeldIsSentAsItsSubscriptionWasBefore(t *testing.T) {
	w, lane, out := holding(t, 2, 10)
	changed := w.lane[lane]
	changed.URL = "https://example.com/new"
	w.lane[lane] = changed
	w.Changed(lane)
	if w.Finish(out[0], succeeded()); len(w.take()) != 0 {
		t.Fatal("sent as it was")
	}
	out = nil
	w.fill(&out)
	if len(out) == 0 || out[0].Subscription.URL != changed.URL || out[0].Delivery.ID != "dlv_0003" {
		t.Errorf("then begins %+v", out)
	}
}

// What is on its way to being held when its subscription changes was leased before that, too.
func TestALeaseDuringAChangeIsGivenBack(t *testing.T) {
	w := newWorld(t, 100)
	lane := w.subscribe("sub_1", 2)
	w.schedule(lane, "")
	w.duringLease = func() { w.Changed(lane) }
	if w.step(); len(w.take()) != 0 {
		t.Error("sent as it was")
	}
	w.duringLease = nil
	var out []dispatch.Leased
	if w.fill(&out); len(out) != 1 {
		t.Errorf("%d are sent as it is", len(out))
	}
	if _, ok := w.Reserve(lane, 2); !ok {
		t.Fatal("no slot is left")
	}
	w.Changed(lane)
	if w.Take([]dispatch.Leased{w.schedule(lane, incarnation)}, true); len(w.take()) != 0 {
		t.Error("handed over as it was")
	}
	if w.fill(&out); len(out) != 2 {
		t.Errorf("%d are sent as it is", len(out))
	}
}

func TestWhatIsHeldIsGivenBackAsSoonAsLeasingStops(t *testing.T) {
	w, _, out := holding(t, 2, 10)
	w.StopLeasing()
	if w.Finish(out[0], succeeded()); len(w.take()) != 0 {
		t.Error("sent although leasing has stopped")
	}
	if next := w.step(); w.held() != 0 || w.InFlight() != 1 || !next.IsZero() {
		t.Errorf("%d are held, %d are out, the next turn is at %s", w.held(), w.InFlight(), next)
	}
	if got := w.rows[out[1].Delivery.ID]; got.lease == "" {
		t.Error("what is out was given back")
	}
}

func TestTheEndGivesBackWhatIsHeld(t *testing.T) {
	w, _, _ := holding(t, 2, 10)
	if err := w.Close(t.Context()); err != nil || w.held() != 0 {
		t.Errorf("%d are held: %v", w.held(), err)
	}
}

// Until what was held is given back for sure, nothing younger of its lane is leased.
func TestWhatCouldNotBeGivenBackIsGivenBackLater(t *testing.T) {
	w, lane, out := holding(t, 2, 10)
	w.Finish(out[0], answered(500))
	for _, call := range []string{"GiveBack", "commit"} {
		w.fail[call] = errors.New("away")
		if _, err := w.Step(t.Context()); err == nil {
			t.Fatal("no error")
		}
		delete(w.fail, call)
		if _, ok := w.Reserve(lane, 2); ok || len(w.take()) > 0 || w.held() == 0 {
			t.Fatalf("%d are held, and one that is younger is taken: %t", w.held(), ok)
		}
	}
	w.step()
	if n := w.held(); n > 0 {
		t.Errorf("%d are held", n)
	}
	w.step()
	if next := w.take(); len(next) == 0 || next[0].Delivery.ID != "dlv_0003" {
		t.Errorf("then begins %+v", next)
	}
}

func TestNothingIsHeldWhenSlotsAreShort(t *testing.T) {
	w := newWorld(t, 64)
	w.backlog("hog", 50, 10)
	var out []dispatch.Leased
	if w.fill(&out); w.held() != 0 {
		t.Errorf("%d are held with %d of 64 slots taken", w.held(), w.InFlight())
	}
}

// Fan-out hands over more than a lane may have out, and nothing beyond what may be held.
func TestMoreIsHandedOverThanMayBeOut(t *testing.T) {
	w := newWorld(t, 100)
	lane := w.subscribe("sub_1", 4)
	var handed []dispatch.Leased
	for range 200 {
		lease, ok := w.Reserve(lane, 4)
		if !ok {
			break
		}
		handed = append(handed, w.schedule(lane, lease))
	}
	if n := len(handed); n < 20 || n > 100 {
		t.Fatalf("%d are handed over", n)
	}
	w.Take(handed, true)
	out := w.take()
	for i := 0; i < len(out); i++ {
		if n := w.InFlight(); n > 4 || out[i].Delivery.ID != handed[i].Delivery.ID {
			t.Fatalf("%d are out, and %s is the next", n, out[i].Delivery.ID)
		}
		w.Finish(out[i], succeeded())
		out = append(out, w.take()...)
	}
	if w.step(); len(out) != len(handed) || w.leases > 1 {
		t.Errorf("%d of %d were sent, with %d leases", len(out), len(handed), w.leases)
	}
}

// … nor does fan-out hand over more, unless no other process is there to send it.
func TestNoMoreIsHandedOverThanTheReceiverTakesSoon(t *testing.T) {
	for _, alone := range []bool{false, true} {
		w := newWorldOf(t, dispatch.Config{MaxInFlight: 100, Alone: func() bool { return alone }})
		first, again, free := handedToASlowLane(w)
		if len(first) <= 16+8 || (again > free+8) != alone {
			t.Errorf("alone: %t: %d are handed over of a receiver that nothing is known of, and then %d for %d slots", alone, len(first), again, free)
		}
	}
}

// handedToASlowLane hands over all that a lane takes, and again once its receiver is known and all but one have ended.
func handedToASlowLane(w *world) (first []dispatch.Leased, again, free int) {
	lane := w.subscribe("sub_1", 16)
	hand := func() (handed []dispatch.Leased) {
		for lease, ok := w.Reserve(lane, 16); ok; lease, ok = w.Reserve(lane, 16) {
			handed = append(handed, w.schedule(lane, lease))
		}
		return handed
	}
	answer := succeeded()
	answer.Duration = 100 * time.Millisecond
	first = hand()
	w.Take(first, true)
	out := w.take()
	for ; len(out) > 1; out = append(out[1:], w.take()...) { // of a lane without any its receiver is forgotten
		w.Finish(out[0], answer)
	}
	w.step()
	return first, len(hand()), 16 - len(out)
}

// Fan-out may hand over as many of a tenant's as there are slots, and again once half of them have begun, so that it hands over many.
func TestRoomForWhatIsHandedOver(t *testing.T) {
	w := newWorld(t, 100)
	lane, another := w.subscribe("sub_1", 4), w.subscribe("sub_2", 4)
	room := func(when string, want int) {
		t.Helper()
		if got := w.Room(lane.Tenant); got != want {
			t.Errorf("%s there is room for %d, not %d", when, got, want)
		}
	}
	hand := func(lane dispatch.Lane, n int) (handed []dispatch.Leased) {
		for range n {
			if lease, ok := w.Reserve(lane, 4); ok {
				handed = append(handed, w.schedule(lane, lease))
			}
		}
		return handed
	}
	room("at first", 100)
	handed := append(hand(lane, 30), hand(another, 20)...)
	room("while it is promised", 50)
	w.Take(hand(lane, 10), false)
	room("when some were not committed", 50)
	w.Take(handed, true)
	room("since 8 have begun", 58)
	w.Take(hand(lane, 10), true)
	room("with 52 waiting", 0)
	for _, l := range w.take() {
		w.Finish(l, succeeded())
	}
	room("when others have begun in their place", 56)
	handed = hand(lane, 200)
	if w.Take(handed, true); len(handed) != 100-44 {
		t.Errorf("%d are handed over besides", len(handed))
	}
	w.now = w.now.Add(time.Second)
	w.step()
	room("when they were given back", 100)
}

func TestWhatIsHandedOverAndRolledBackLeavesNothing(t *testing.T) {
	w := newWorld(t, 100)
	lane := w.subscribe("sub_1", 4)
	var handed []dispatch.Leased
	for range 20 {
		lease, _ := w.Reserve(lane, 4)
		handed = append(handed, dispatch.Leased{Delivery: delivery.Delivery{Tenant: lane.Tenant, SubscriptionID: lane.SubscriptionID}, Lease: lease})
	}
	w.Take(handed, false)
	if w.step(); w.InFlight() != 0 || len(w.take()) > 0 {
		t.Errorf("%d are out", w.InFlight())
	}
}
