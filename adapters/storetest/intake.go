package storetest

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var intakeChecks = []Check{
	{"intake/fingerprints tell known events from new ones", func(w *world) {
		known := w.accept(acme, event.VisitReportApproved, at(0))
		unknown := w.event(acme, event.VisitReportApproved, at(0))
		elsewhere := intake.EventKey{Tenant: other, ID: known.ID}
		found, err := w.Known(w.ctx, []intake.EventKey{known.Key(), unknown.Key(), elsewhere, known.Key()})
		w.ok(err, "read fingerprints")
		equal(w, "fingerprints", found.Fingerprints, map[intake.EventKey][32]byte{known.Key(): known.Fingerprint})
		found, err = w.Known(w.ctx, nil)
		w.ok(err, "read no fingerprints")
		equal(w, "fingerprints of nothing", len(found.Fingerprints), 0)
	}},
	{"intake/one ID in two tenants is two events", func(w *world) {
		one := w.accept(acme, event.TargetImported, at(0))
		two := w.event(other, event.BillingEventSent, at(1))
		two.ID = one.ID
		w.ok(w.AppendEvents(w.ctx, []intake.Accepted{two}), "append the same ID for another tenant")
		found, err := w.Known(w.ctx, []intake.EventKey{one.Key(), two.Key()})
		w.ok(err, "read fingerprints")
		equal(w, "fingerprints", found.Fingerprints, map[intake.EventKey][32]byte{one.Key(): one.Fingerprint, two.Key(): two.Fingerprint})
		loaded, err := w.Events(w.ctx, []intake.EventKey{two.Key(), one.Key()})
		w.ok(err, "load events")
		equal(w, "events", loaded, []intake.Accepted{two, one})
	}},
	{"intake/an ID that is taken is refused with all that came with it", func(w *world) {
		taken := w.accept(acme, event.TargetImported, at(0))
		fresh := w.event(acme, event.TargetImported, at(1))
		if err := w.AppendEvents(w.ctx, []intake.Accepted{fresh, taken}); err == nil {
			w.Errorf("an event was stored twice")
		}
		equal(w, "events", w.eventIDs(acme), []string{taken.ID})
	}},
	{"intake/events come back as they were appended", func(w *world) {
		var all, encoded []intake.Accepted
		var keys []intake.EventKey
		for _, t := range event.Types() {
			e := w.event(acme, t, at(float64(len(all))))
			ready, err := intake.NewAccepted(e.Event, e.TraceParent, e.At)
			w.ok(err, "encode an event")
			all, encoded, keys = append(all, e), append(encoded, ready), append(keys, e.Key())
		}
		w.ok(w.AppendEvents(w.ctx, encoded), "append events")
		slices.Reverse(all)
		slices.Reverse(keys)
		loaded, err := w.Events(w.ctx, keys)
		w.ok(err, "load events")
		equal(w, "events", loaded, all)
	}},
	{"intake/the order of acceptance is the order of sequences", func(w *world) {
		var want []string
		for round := range 3 {
			var batch []intake.Accepted
			for range 400 {
				e := w.event(acme, event.TargetImported, at(float64(round)))
				e.ID = "evt_" + strconv.Itoa(len(want)*7919%1200) // IDs in another order
				batch, want = append(batch, e), append(want, e.ID)
			}
			w.ok(w.AppendEvents(w.ctx, batch), "append a batch")
		}
		slices.Reverse(want)
		equal(w, "events, newest first", w.eventIDs(acme), want)
		events, err := w.AcceptedEvents(w.ctx, queries.EventFilter{Tenant: acme, Limit: len(want)})
		w.ok(err, "list events")
		for i := 1; i < len(events); i++ {
			if events[i-1].Sequence <= events[i].Sequence || events[i-1].Position < events[i].Position {
				w.Fatalf("event %d does not come behind event %d: %+v, %+v", i-1, i, events[i-1], events[i])
			}
		}
		if first, last := events[len(events)-1].Position, events[0].Position; first == last {
			w.Errorf("three commits have one position, %d", first)
		}
	}},
	{"intake/known events and unknown tenants", func(w *world) {
		e := w.accept(acme, event.TargetImported, at(0))
		keys := []intake.EventKey{e.Key()}
		for _, id := range []tenant.ID{"nobody", other, acme, "ACME"} {
			keys = append(keys, intake.EventKey{Tenant: id, ID: "evt_new"})
		}
		want := map[intake.EventKey][32]byte{e.Key(): e.Fingerprint}
		check := func(ctx context.Context) error {
			known, err := w.Known(ctx, keys)
			w.ok(err, "look up events and tenants")
			equal(w, "known events", known.Fingerprints, want)
			for id, want := range map[tenant.ID]bool{acme: true, other: true, "nobody": false, "ACME": false} {
				equal(w, "known: "+string(id), known.Tenants[id], want)
			}
			return nil
		}
		w.ok(check(w.ctx), "look")
		w.ok(w.InTx(w.ctx, check), "look in a transaction")
	}},
	{"intake/a rollback leaves nothing", func(w *world) {
		e := w.event(acme, event.TargetImported, at(0))
		failed := errors.New("no")
		err := w.InTx(w.ctx, func(ctx context.Context) error {
			w.ok(w.AppendEvents(ctx, []intake.Accepted{e}), "append an event")
			inside, err := w.Known(ctx, []intake.EventKey{e.Key()})
			w.ok(err, "read fingerprints in the transaction")
			equal(w, "known in the transaction", len(inside.Fingerprints), 1)
			return failed
		})
		if !errors.Is(err, failed) {
			w.Errorf("InTx gave %v, want the error of the function", err)
		}
		equal(w, "events", w.eventIDs(acme), nil)
		w.ok(w.AppendEvents(w.ctx, []intake.Accepted{e}), "append it again")
	}},
	{"intake/a transaction in a transaction joins it", func(w *world) {
		kept, undone := w.event(acme, event.TargetImported, at(0)), w.event(other, event.TargetImported, at(0))
		w.ok(w.InTx(w.ctx, func(ctx context.Context) error {
			return w.InTx(ctx, func(ctx context.Context) error { return w.AppendEvents(ctx, []intake.Accepted{kept}) })
		}), "append in a nested transaction")
		failed := errors.New("no")
		err := w.InTx(w.ctx, func(ctx context.Context) error {
			w.ok(w.InTx(ctx, func(ctx context.Context) error { return w.AppendEvents(ctx, []intake.Accepted{undone}) }), "append in a nested transaction")
			return failed
		})
		if !errors.Is(err, failed) {
			w.Errorf("InTx gave %v, want the error of the outer function", err)
		}
		equal(w, "events of the one that committed", w.eventIDs(acme), []string{kept.ID})
		equal(w, "events of the one that did not", w.eventIDs(other), nil)
	}},
	{"intake/a panic undoes the transaction and frees the store", func(w *world) {
		func() {
			defer func() { _ = recover() }()
			_ = w.InTx(w.ctx, func(ctx context.Context) error {
				w.ok(w.AppendEvents(ctx, []intake.Accepted{w.event(acme, event.TargetImported, at(0))}), "append an event")
				panic("no")
			})
		}()
		equal(w, "events", w.eventIDs(acme), nil)
		w.accept(acme, event.TargetImported, at(1))
	}},
}

// eventIDs lists a tenant's events, newest first.
func (w *world) eventIDs(owner tenant.ID) (ids []string) {
	w.Helper()
	events, err := w.AcceptedEvents(w.ctx, queries.EventFilter{Tenant: owner, Limit: 10_000})
	w.ok(err, "list events")
	for _, e := range events {
		ids = append(ids, e.ID)
	}
	return ids
}
