package dispatch_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// A database that is slow for long holds up what is sent, and does not end it.
func TestASlowDatabaseKeepsNothingFromBeingSent(t *testing.T) {
	for name, slow := range map[string]func(w *world, leap func()){
		"to lease": func(w *world, leap func()) { w.duringLease = leap },
		"to look":  func(w *world, leap func()) { w.duringLook = leap },
	} {
		for took, atOnce := range map[time.Duration]bool{400 * time.Millisecond: true, 600 * time.Millisecond: true, dispatch.HeartbeatTimeout / 2: true, 6 * time.Second: name == "to look"} {
			t.Run(name+" "+took.String(), func(t *testing.T) {
				w := newWorld(t, 100)
				lane := w.subscribe("sub_1", 2)
				for range 10 {
					w.schedule(lane, "")
				}
				slow(w, func() { w.now = w.now.Add(took) })
				if w.step(); (len(w.Started()) == 2) != atOnce {
					t.Fatalf("%d have begun after one step", len(w.Started()))
				}
				if !atOnce {
					return
				}
				sent := 0
				for range 20 {
					for _, l := range w.take() {
						w.Finish(l, succeeded())
						sent++
					}
					w.now = w.now.Add(100 * time.Millisecond)
					w.step()
				}
				if sent != 10 {
					t.Errorf("%d were sent in 20 steps", sent)
				}
				if _, ok := w.Reserve(lane, 2); !ok {
					t.Error("nothing may be handed over")
				}
			})
		}
	}
}

// What a slow lease brings is held no longer than the lease is sure to last, and given back when that is over.
func TestWhatWasLeasedLongAgoIsGivenBack(t *testing.T) {
	for took, holds := range map[time.Duration]time.Duration{
		0:                             dispatch.HeartbeatTimeout / 10,
		2 * time.Second:               dispatch.HeartbeatTimeout / 10,
		2400 * time.Millisecond:       100 * time.Millisecond,
		dispatch.HeartbeatTimeout / 2: 0,
		time.Hour:                     -time.Microsecond,
		-time.Second:                  -time.Microsecond, // the clock is set back
	} {
		for _, waits := range []time.Duration{holds, holds + time.Microsecond} {
			t.Run(took.String()+" and "+waits.String(), func(t *testing.T) {
				w := newWorld(t, 100)
				lane := w.subscribe("sub_1", 2)
				for range 10 {
					w.schedule(lane, "")
				}
				w.step()
				out := w.take()
				w.duringLease = func() { w.now = w.now.Add(took) }
				next := w.step()
				w.duringLease = nil
				if until := w.now.Add(holds + time.Microsecond); len(out) != 2 || w.held() != 8 || !next.Equal(until) {
					t.Fatalf("%d are out, %d are held until %s, not %s", len(out), w.held(), next, until)
				}
				w.now = w.now.Add(waits)
				w.Finish(out[0], succeeded())
				if begun, fresh := len(w.take()), holds >= 0 && waits <= holds; (begun == 1) != fresh {
					t.Errorf("%d have begun", begun)
				}
				if w.step(); waits > holds && w.held() > 0 {
					t.Errorf("%d are still held", w.held())
				}
			})
		}
	}
}

// What was more than a turn records is recorded by the next one at once, and not once something else comes.
func TestOutcomesThatATurnLeavesAreRecordedByTheNext(t *testing.T) {
	const many = 1100
	w := newWorld(t, many)
	lane := w.subscribe("sub_1", many)
	var results []dispatch.Result
	for range many {
		l := w.schedule(lane, incarnation)
		w.Reserve(lane, many)
		results = append(results, dispatch.Result{Leased: l, Outcome: succeeded()})
	}
	w.FinishTogether(results)
	turns := 1
	for w.step().Equal(w.now) && w.Unrecorded() > 0 {
		turns++
	}
	if w.ended[delivery.StatusSucceeded] != many || turns != 3 {
		t.Errorf("%d turns recorded %v", turns, w.ended)
	}
}
