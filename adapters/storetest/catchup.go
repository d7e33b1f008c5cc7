package storetest

import (
	"slices"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

var catchUpChecks = []Check{
	{"catch-up/events come in the order of acceptance, as far as fan-out has come", func(w *world) {
		var ids []string
		var positions, sequences []int64
		for range 4 {
			e, err := w.Event(w.ctx, acme, w.accept(acme, event.TargetImported, at(0)).ID)
			w.ok(err, "read the event")
			ids, positions, sequences = append(ids, e.ID), append(positions, e.Position), append(sequences, e.Sequence)
			w.accept(other, event.TargetImported, at(0))
		}
		after := func(what string, sequence int64, limit int, want ...string) {
			w.Helper()
			found, err := w.EventsAfter(w.ctx, acme, sequence, limit)
			w.ok(err, "read events")
			var got []string
			for _, e := range found {
				got = append(got, e.ID)
			}
			if !slices.Equal(got, want) {
				w.Errorf("%s: got %v, want %v", what, got, want)
			}
		}
		after("before fan-out has begun", 0, 10)
		w.ok(w.ReachFanOut(w.ctx, positions[2]), "move the fan-out's offset")
		after("from the beginning", 0, 10, ids[:3]...)
		after("at most two", 0, 2, ids[:2]...)
		after("behind the second", sequences[1], 10, ids[2])
		after("behind the last that was fanned out", sequences[2], 10)
		w.ok(w.ReachFanOut(w.ctx, positions[3]), "move the fan-out's offset")
		after("after fan-out has gone on", sequences[2], 10, ids[3])
	}},
	{"catch-up/the newest delivery of each event in a lane", func(w *world) {
		s, quiet := w.subscribe(acme, nil), w.subscribe(acme, nil)
		done := w.schedule(s, at(0), "")
		done = w.saved(w.moved(done, "", recorded(success(at(1)), at(1))))
		e := w.accept(acme, event.TargetImported, at(0))
		first, second := w.planned(s, e, at(1), ""), w.planned(s, e, at(2), "")
		w.ok(w.Schedule(w.ctx, fanout.Plan{Bodies: []fanout.Body{bodyOf(e)}, Scheduled: []fanout.Scheduled{second, first}}, func(bool) {}), "schedule two")
		newest := max(first.Delivery.ID, second.Delivery.ID)
		ids := []string{done.EventID, e.ID, "evt_nowhere"}
		got, err := w.NewestOf(w.ctx, laneOf(s), ids)
		w.ok(err, "find the deliveries")
		equal(w, "the deliveries", []string{got[done.EventID].ID, got[e.ID].ID}, []string{done.ID, newest})
		equal(w, "their statuses", []delivery.Status{got[done.EventID].Status, got[e.ID].Status}, []delivery.Status{delivery.StatusSucceeded, delivery.StatusPending})
		equal(w, "how many", len(got), 2)
		foreign := laneOf(s)
		foreign.Tenant = other
		for what, lane := range map[string]dispatch.Lane{"another lane": laneOf(quiet), "another tenant": foreign} {
			got, err := w.NewestOf(w.ctx, lane, ids)
			w.ok(err, "find the deliveries")
			equal(w, what, len(got), 0)
		}
	}},
}
