package storetest

import (
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// tell notes an incarnation's report of a lane; the zero report says that it is well.
func (w *world) tell(incarnation string, s subscription.Subscription, r circuit.Report) {
	w.Helper()
	w.ok(w.NoteCircuits(w.ctx, incarnation, []dispatch.CircuitReport{{Lane: laneOf(s), Report: r}}), "note a circuit")
}

// circuits checks the reports on the owner's subscriptions by incarnations whose heartbeat is not older than since.
func (w *world) circuits(owner tenant.ID, since time.Time, want map[string]circuit.Report, ids ...string) {
	w.Helper()
	got, err := w.Circuits(w.ctx, owner, ids, since)
	w.ok(err, "read circuits")
	equal(w, "circuits", got, want)
}

var circuitChecks = []Check{
	{"circuits/what was told last, of the lanes that are asked for", func(w *world) {
		a, b, theirs := w.subscribe(acme, nil), w.subscribe(acme, nil), w.subscribe(other, nil)
		w.ok(w.Heartbeat(w.ctx, "inc_1", at(0)), "heartbeat")
		open, narrow := circuit.Report{Since: at(1), Until: at(6)}, circuit.Report{Since: at(2), Window: 4}
		w.circuits(acme, at(0), map[string]circuit.Report{}, a.ID, b.ID, theirs.ID)
		w.ok(w.NoteCircuits(w.ctx, "inc_1", []dispatch.CircuitReport{
			{Lane: laneOf(a), Report: open}, {Lane: laneOf(b), Report: narrow}, {Lane: laneOf(theirs), Report: open}}), "note circuits")
		w.circuits(acme, at(0), map[string]circuit.Report{a.ID: open, b.ID: narrow}, a.ID, b.ID, theirs.ID)
		w.circuits(acme, at(0), map[string]circuit.Report{b.ID: narrow}, b.ID, "sub_nobody")
		w.circuits(acme, at(0), map[string]circuit.Report{})
		narrow.Window = 2
		w.tell("inc_1", b, narrow)
		w.circuits(acme, at(0), map[string]circuit.Report{b.ID: narrow}, b.ID)
		open.Until = at(16)
		w.ok(w.NoteCircuits(w.ctx, "inc_1", []dispatch.CircuitReport{{Lane: laneOf(a), Report: open}, {Lane: laneOf(b)}, {Lane: laneOf(theirs)}}), "note circuits again")
		w.circuits(acme, at(0), map[string]circuit.Report{a.ID: open}, a.ID, b.ID)
		w.circuits(other, at(0), map[string]circuit.Report{}, a.ID, b.ID, theirs.ID)
		w.ok(w.NoteCircuits(w.ctx, "inc_1", nil), "note none")
	}},
	{"circuits/of several processes the one that spares most, of those that live", func(w *world) {
		s := w.subscribe(acme, nil)
		told := map[string]circuit.Report{
			"inc_wide": {Since: at(1), Window: 8}, "inc_narrow": {Since: at(2), Window: 2}, "inc_short": {Since: at(3), Until: at(8)}, "inc_long": {Since: at(4), Until: at(9)},
		}
		for i, incarnation := range []string{"inc_long", "inc_short", "inc_narrow", "inc_wide"} {
			w.ok(w.Heartbeat(w.ctx, incarnation, at(float64(10+i))), "heartbeat")
			w.tell(incarnation, s, told[incarnation])
		}
		w.tell("inc_unheard", s, circuit.Report{Since: at(0), Until: at(99)})
		for since, want := range map[float64]string{10: "inc_long", 11: "inc_short", 12: "inc_narrow", 13: "inc_wide"} {
			w.circuits(acme, at(since), map[string]circuit.Report{s.ID: told[want]}, s.ID)
		}
		w.circuits(acme, at(14), map[string]circuit.Report{}, s.ID)
		w.tell("inc_long", s, circuit.Report{})
		w.circuits(acme, at(10), map[string]circuit.Report{s.ID: told["inc_short"]}, s.ID)
	}},
	{"circuits/a process that begins forgets what dead ones told", func(w *world) {
		s := w.subscribe(acme, nil)
		w.tell("inc_dead", s, circuit.Report{Since: at(0), Until: at(5)})
		w.ok(w.BeginIncarnation(w.ctx, "inc_new", at(1)), "begin an incarnation")
		w.ok(w.Heartbeat(w.ctx, "inc_dead", at(1)), "a heartbeat of the dead, to see what is left of it")
		w.circuits(acme, at(0), map[string]circuit.Report{}, s.ID)
	}},
}
