package storetest

import (
	"slices"
	"strconv"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var eventChecks = []Check{
	{"events/one accepted event", func(w *world) {
		e := w.accept(acme, event.BillingEventSent, at(3))
		got, err := w.Event(w.ctx, acme, e.ID)
		w.ok(err, "read an event")
		equal(w, "the event", got, queries.Event{ID: e.ID, Type: e.Type, Tenant: acme, OccurredAt: e.OccurredAt, AcceptedAt: at(3),
			TraceParent: e.TraceParent, Position: got.Position, Sequence: got.Sequence})
		_, err = w.Event(w.ctx, acme, "evt_nowhere")
		w.refused(err, problem.NotFound, "read an event that is not there")
	}},
	{"events/every filter, alone and with others", func(w *world) {
		var all []queries.Event
		w.accept(other, event.TargetImported, at(0))
		for i := range 12 {
			e := w.accept(acme, event.Types()[i%3], at(float64(i)))
			listed, err := w.Event(w.ctx, acme, e.ID)
			w.ok(err, "read an event")
			all = append(all, listed)
		}
		slices.Reverse(all)
		for bits := range 1 << 5 {
			set := func(i int) bool { return bits>>i&1 == 1 }
			f := queries.EventFilter{Tenant: acme, Limit: 100}
			if set(0) {
				f.Type = event.Types()[1]
			}
			if set(1) {
				f.Since = at(2)
			}
			if set(2) {
				f.Until = at(10)
			}
			if set(3) {
				f.Before = all[3].Sequence
			}
			if set(4) {
				f.Limit = 2
			}
			w.filterEvents(strconv.Itoa(bits), f, all)
		}
		w.filterEvents("between two microseconds", queries.EventFilter{Tenant: acme, Since: at(2).Add(1), Until: at(10).Add(1), Limit: 100}, all)
	}},
	{"events/pages are stable while events come in", func(w *world) {
		var want, got []string
		for range 10 {
			want = append([]string{w.accept(acme, event.TargetImported, at(0)).ID}, want...)
		}
		f := queries.EventFilter{Tenant: acme, Limit: 3}
		for range 100 {
			page, err := w.AcceptedEvents(w.ctx, f)
			w.ok(err, "read a page")
			if len(page) == 0 {
				break
			}
			for _, e := range page {
				got = append(got, e.ID)
			}
			f.Before = page[len(page)-1].Sequence
			w.accept(acme, event.TargetImported, at(1))
		}
		equal(w, "events on all pages", got, want)
	}},
	{"events/how far the fan-out has come", func(w *world) {
		e := w.accept(acme, event.TargetImported, at(0))
		listed, err := w.Event(w.ctx, acme, e.ID)
		w.ok(err, "read the event")
		fannedOut := func(want bool) {
			w.Helper()
			got, err := w.FannedOut(w.ctx, listed)
			w.ok(err, "ask for the fan-out")
			equal(w, "fanned out", got, want)
		}
		fannedOut(false)
		for _, step := range []struct {
			position int64
			want     bool
		}{{listed.Position - 1, false}, {listed.Position, true}, {listed.Position + 1, true}} {
			w.ok(w.ReachFanOut(w.ctx, step.position), "move the fan-out's offset")
			fannedOut(step.want)
		}
	}},
	{"events/their deliveries, oldest first", func(w *world) {
		s := w.subscribe(acme, nil)
		e, alone := w.accept(acme, event.TargetImported, at(0)), w.accept(acme, event.TargetImported, at(0))
		var all []string
		plan := fanout.Plan{Bodies: []fanout.Body{bodyOf(e)}}
		for range 4 {
			plan.Scheduled = append(plan.Scheduled, w.planned(s, e, at(1), "inc_1"))
			all = append(all, plan.Scheduled[len(all)].Delivery.ID)
		}
		w.ok(w.Schedule(w.ctx, plan, func(bool) {}), "schedule")
		w.saved(w.moved(plan.Scheduled[1].Delivery, "inc_1", recorded(success(at(2)), at(2))))
		ids := func(owner tenant.ID, each int, events ...string) map[string][]string {
			w.Helper()
			found, err := w.DeliveriesOf(w.ctx, owner, events, each)
			w.ok(err, "list deliveries of events")
			ids := map[string][]string{}
			for event, list := range found {
				if len(list) > 0 {
					ids[event] = idsOfDeliveries(list)
				}
			}
			return ids
		}
		equal(w, "all of them", ids(acme, 10, e.ID, alone.ID), map[string][]string{e.ID: all})
		equal(w, "three of them", ids(acme, 3, alone.ID, e.ID), map[string][]string{e.ID: all[:3]})
		equal(w, "another tenant's", ids(other, 10, e.ID), map[string][]string{})
		equal(w, "of no event", ids(acme, 10), map[string][]string{})
	}},
	{"events/nothing was gated", func(w *world) {
		e := w.accept(acme, event.TargetImported, at(0))
		gated, err := w.GatedOf(w.ctx, acme, e.ID)
		w.ok(err, "read what was gated")
		equal(w, "gated", len(gated), 0)
	}},
}

// filterEvents checks a filter against the events that match it out of all, newest first.
func (w *world) filterEvents(name string, f queries.EventFilter, all []queries.Event) {
	w.Helper()
	var want []queries.Event
	for _, e := range all {
		if (f.Type == "" || e.Type == f.Type) && (f.Since.IsZero() || !e.AcceptedAt.Before(f.Since)) &&
			(f.Until.IsZero() || e.AcceptedAt.Before(f.Until)) && (f.Before == 0 || e.Sequence < f.Before) && len(want) < f.Limit {
			want = append(want, e)
		}
	}
	got, err := w.AcceptedEvents(w.ctx, f)
	w.ok(err, "list events")
	equal(w, "filter "+name, got, want)
}
