package dispatch_test

import (
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
)

func hung() delivery.Outcome { return delivery.Outcome{Kind: delivery.KindTimeout, StartedAt: start} }

// sicken lets attempts of a lane with a long backlog hang until its circuit opens.
func sicken(t *testing.T) (w *world, until time.Time) {
	t.Helper()
	w = newWorld(t, 100)
	lane := w.subscribe("sub_sick", 16)
	for range 200 {
		w.schedule(lane, "")
	}
	w.step()
	for len(w.Circuits()) == 0 {
		w.now = w.now.Add(10 * time.Second)
		for _, l := range w.take() {
			w.Finish(l, hung())
		}
		if w.step(); w.now.After(start.Add(2 * circuit.FailingToOpen)) {
			t.Fatal("the circuit does not open")
		}
	}
	for _, l := range w.take() {
		w.Finish(l, hung())
	}
	w.step()
	return w, w.step()
}

func TestWithoutABacklogNothingIsHeldBack(t *testing.T) {
	w := newWorld(t, 100)
	lane := w.subscribe("sub_down", 16)
	for range 3 * circuit.FailuresToOpen {
		w.now = w.now.Add(5 * time.Second)
		w.schedule(lane, "")
		w.Wake()
		w.step()
		sent := w.take()
		if len(sent) == 0 {
			t.Fatalf("at %s nothing is sent although it is due", w.now.Sub(start))
		}
		for _, l := range sent {
			w.Finish(l, answered(500))
		}
		w.step()
	}
	if w.Circuits()[circuit.Open]+w.Circuits()[circuit.HalfOpen] == 0 {
		t.Error("the circuit is closed, so this shows nothing")
	}
}

// A receiver that is down gets its backlog at a pace, long before its circuit opens.
func TestABacklogPausesBetweenFailures(t *testing.T) {
	w := newWorld(t, 100)
	lane := w.subscribe("sub_down", 16)
	for range 2000 {
		w.schedule(lane, "")
	}
	attempts := 0
	for next := w.step(); w.now.Before(start.Add(circuit.FailingToOpen)); next = w.step() {
		sent := w.take()
		attempts += len(sent)
		for _, l := range sent {
			w.Finish(l, answered(500))
		}
		if len(sent) > 0 {
			continue
		}
		if !next.After(w.now) {
			t.Fatalf("the dispatcher wants to be called at %s, which is not later than %s, and sends nothing", next, w.now)
		}
		w.now = next
	}
	// A second between attempts of 16 at once, and some before it is a second.
	if most := 16 * (int(circuit.FailingToOpen/time.Second) + circuit.FailuresToOpen); attempts > most || attempts < int(circuit.FailingToOpen/time.Second) {
		t.Errorf("%d attempts until the circuit may open, of at most %d", attempts, most)
	}
}

func TestAChangedEndpointGetsAnotherChance(t *testing.T) {
	w, _ := sicken(t)
	w.Forget(dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_sick"})
	if w.step(); len(w.take()) != 16 {
		t.Error("the backlog waits for a circuit that was forgotten")
	}
}

// TestWhatAnEarlierReceiverDidCountsNoMore has attempts out when the endpoint is changed: their ends tell nothing of the receiver that
// is called now.
func TestWhatAnEarlierReceiverDidCountsNoMore(t *testing.T) {
	w, lane, earlier := holding(t, 16, 200)
	w.Changed(lane)
	w.Forget(lane)
	for _, l := range earlier {
		w.Finish(l, hung())
	}
	w.step()
	if next := append(w.take(), w.rest(3)...); len(next) != 16 || len(w.circuits) > 0 {
		t.Errorf("%d attempts at the present receiver, and told is %+v", len(next), w.circuits)
	}
}

func TestAReceiverThatHangsIsSpared(t *testing.T) {
	w, until := sicken(t)
	if got := w.take(); len(got) != 0 {
		t.Errorf("%d more are sent to a receiver that hangs", len(got))
	}
	if got := w.Circuits(); !maps.Equal(got, map[circuit.State]int{circuit.Open: 1}) {
		t.Errorf("circuits: %v", got)
	}
	if !until.After(w.now) || until.After(w.now.Add(time.Minute)) {
		t.Fatalf("the next look is at %s, now it is %s", until, w.now)
	}
	healthy := w.subscribe("sub_healthy", 16)
	if _, ok := w.Reserve(healthy, 16); !ok {
		t.Error("a healthy lane has to wait for the one that hangs")
	}
}

func TestOneProbeAtATimeAndNoTurnMeanwhile(t *testing.T) {
	w, until := sicken(t)
	w.now = until
	next := w.step()
	probe := w.take()
	if len(probe) != 1 || !probe[0].Spared {
		t.Fatalf("the probes are %+v", probe)
	}
	if !next.IsZero() && !next.After(w.now) {
		t.Errorf("while the probe is out the dispatcher wants to be called at %s, which is not later than %s", next, w.now)
	}
	w.Finish(probe[0], hung())
	w.step()
	if again := w.step(); again.Sub(w.now) < 10*time.Second || len(w.take()) != 0 {
		t.Errorf("after the probe failed, the next comes in %s", again.Sub(w.now))
	}
}

func TestABacklogDrainsAtARampWhenTheReceiverIsBack(t *testing.T) {
	w, until := sicken(t)
	w.now = until
	w.step()
	sizes := []int{}
	for range 6 {
		sent := w.take()
		sizes = append(sizes, len(sent))
		for _, l := range sent {
			if full := len(sent) == 16; l.Spared == full {
				t.Errorf("of %d, one says that its receiver is spared: %t", len(sent), l.Spared)
			}
			w.Finish(l, succeeded())
		}
		w.step()
		w.step()
	}
	for i, want := range []int{1, 2, 4, 8, 16, 16} {
		if sizes[i] > want {
			t.Fatalf("the ramp is %v", sizes)
		}
	}
	if len(w.Circuits()) != 0 {
		t.Errorf("circuits: %v", w.Circuits())
	}
}

// What a process makes of a receiver is written with the outcomes that changed it, once, and taken back when it is well.
func TestACircuitIsToldWhenItChanges(t *testing.T) {
	w, until := sicken(t)
	lane := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_sick"}
	told := w.circuits[lane]
	if told.State(w.now) != circuit.Open || !told.Until.Equal(until) || told.Since.Before(start) || told.Since.After(w.now) {
		t.Fatalf("told is %+v at %s, and it is open until %s", told, w.now, until)
	}
	transactions := w.transactions
	w.step()
	if w.transactions != transactions {
		t.Error("what did not change is written again")
	}
	for range 1000 {
		if w.now = w.now.Add(time.Minute); len(w.circuits) == 0 {
			break
		}
		w.step()
		for _, l := range w.take() {
			w.Finish(l, succeeded())
		}
		w.step()
	}
	if len(w.circuits) > 0 || len(w.Circuits()) > 0 {
		t.Errorf("told is %+v of a receiver that is well", w.circuits)
	}
}

// A commit that fails tells nothing, and the next turn does.
func TestACircuitThatCouldNotBeToldIsToldLater(t *testing.T) {
	w, _ := sicken(t)
	lane := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_sick"}
	w.Forget(lane)
	for _, call := range []string{"NoteCircuits", "commit"} {
		w.fail[call] = errors.New("away")
		if _, err := w.Step(w.Context()); err == nil {
			t.Fatal("the turn did not fail")
		}
		delete(w.fail, call)
		if len(w.circuits) != 1 {
			t.Fatalf("after a turn that failed, told is %+v", w.circuits)
		}
	}
	if w.step(); len(w.circuits) != 0 {
		t.Errorf("told is %+v of a receiver that gets another chance", w.circuits)
	}
}

// backlog is a lane with a long backlog of which 16 are out.
func backlog(t *testing.T) (w *world, out []dispatch.Leased) {
	t.Helper()
	w = newWorld(t, 100)
	lane := w.subscribe("sub_1", 16)
	for range 200 {
		w.schedule(lane, "")
	}
	if w.fill(&out); len(out) != 16 {
		t.Fatalf("%d are out", len(out))
	}
	return w, out
}

// together makes results that end so long after the start.
func together(of []dispatch.Leased, o delivery.Outcome, after time.Duration) (results []dispatch.Result) {
	o.Duration = after
	for _, l := range of {
		results = append(results, dispatch.Result{Leased: l, Outcome: o})
	}
	return results
}

// Failures are handed in some time after their ends. Those that a success has followed by then are none in a row, and make no pause; but a
// success that seems to have followed long after is from before the clock was set back.
func TestFailuresThatASuccessFollowedMakeNoPause(t *testing.T) {
	for name, c := range map[string]struct {
		success time.Duration // after the failures' ends
		begun   int
	}{
		"before them":       {-time.Millisecond, 0},
		"after them":        {time.Millisecond, 15},
		"the clock was set": {time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			w, out := backlog(t)
			success := succeeded()
			success.Duration = time.Second + c.success
			w.Finish(out[0], success)
			w.step()
			w.take()
			w.FinishTogether(together(out[1:], answered(500), time.Second))
			w.step()
			if begun := w.rest(3); len(begun) != c.begun {
				t.Errorf("%d begin in the place of failures, not %d", len(begun), c.begun)
			}
		})
	}
}

// Once the clock was set back, what succeeds then makes up for failures as before.
func TestASuccessFromBeforeTheClockWasSetBackHidesNoLaterOne(t *testing.T) {
	w, out := backlog(t)
	success := succeeded()
	for i, end := range []time.Duration{time.Hour, time.Second + time.Millisecond} {
		success.Duration = end
		w.Finish(out[i], success)
	}
	w.step()
	w.take()
	w.FinishTogether(together(out[2:], answered(500), time.Second))
	w.step()
	if begun := w.rest(3); len(begun) != 14 {
		t.Errorf("%d begin in the place of 14 failures that were made up for", len(begun))
	}
}

// A receiver that is back gets its backlog at once, also while it would have been left alone for longer.
func TestASuccessEndsThePause(t *testing.T) {
	w, out := backlog(t)
	w.FinishTogether(together(out[1:], answered(500), time.Second))
	w.step()
	if begun := w.rest(3); len(begun) > 0 {
		t.Fatalf("%d begin after failures in a row", len(begun))
	}
	success := succeeded()
	success.Duration = 2 * time.Second
	w.Finish(out[0], success)
	if begun := w.rest(3); len(begun) != 16 {
		t.Errorf("%d begin, not all that may", len(begun))
	}
}
