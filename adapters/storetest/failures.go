package storetest

import (
	"context"
	"errors"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
)

var failureChecks = []Check{
	{"failures/cancelled in the middle of a transaction", func(w *world) {
		s := w.subscribe(acme, nil)
		e := w.event(acme, event.TargetImported, at(0))
		d := w.planned(s, e, at(0), "")
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		var calls []bool
		err := w.InTx(ctx, func(ctx context.Context) error {
			w.ok(w.AppendEvents(ctx, []intake.Accepted{e}), "append an event")
			plan := fanout.Plan{Bodies: []fanout.Body{bodyOf(e)}, Scheduled: []fanout.Scheduled{d}}
			w.ok(w.Schedule(ctx, plan, func(committed bool) { calls = append(calls, committed) }), "schedule")
			cancel()
			return w.AppendEvents(ctx, []intake.Accepted{w.event(acme, event.TargetImported, at(0))})
		})
		if !errors.Is(err, context.Canceled) {
			w.Errorf("InTx gave %v, want what cancelled it", err)
		}
		equal(w, "ended was called with", calls, []bool{false})
		equal(w, "events", w.eventIDs(acme), nil)
		_, err = w.Delivery(w.ctx, acme, d.Delivery.ID)
		w.refused(err, problem.NotFound, "read the delivery")
		w.stands(w.schedule(s, at(1), ""), false) // the store works on
	}},
	{"failures/an error that is swallowed does not commit what came after a cancelled statement", func(w *world) {
		ctx, cancel := context.WithCancel(w.ctx)
		defer cancel()
		err := w.InTx(ctx, func(ctx context.Context) error {
			w.ok(w.AppendEvents(ctx, []intake.Accepted{w.event(acme, event.TargetImported, at(0))}), "append an event")
			cancel()
			_ = w.AppendEvents(ctx, []intake.Accepted{w.event(acme, event.TargetImported, at(0))})
			_ = w.AppendEvents(context.WithoutCancel(ctx), []intake.Accepted{w.event(acme, event.TargetImported, at(0))})
			return nil
		})
		if err == nil {
			w.Errorf("a transaction with a cancelled statement was committed")
		}
		equal(w, "events", w.eventIDs(acme), nil)
		w.accept(acme, event.TargetImported, at(1))
	}},
	{"failures/cancelled before it began", func(w *world) {
		ctx, cancel := context.WithCancel(w.ctx)
		cancel()
		ran := false
		if err := w.InTx(ctx, func(context.Context) error { ran = true; return nil }); !errors.Is(err, context.Canceled) {
			w.Errorf("InTx gave %v, want what cancelled it", err)
		}
		equal(w, "it ran", ran, false)
		if _, err := w.Deliveries(ctx, queries.DeliveryFilter{Tenant: acme, Limit: 1}); !errors.Is(err, context.Canceled) {
			w.Errorf("a read gave %v, want what cancelled it", err)
		}
		w.accept(acme, event.TargetImported, at(1))
	}},
	{"failures/reads that are cancelled do not panic", func(w *world) {
		keys := []intake.EventKey{}
		for range 50 {
			keys = append(keys, w.accept(acme, event.TargetImported, at(0)).Key())
		}
		for range 50 {
			ctx, cancel := context.WithCancel(w.ctx)
			done := make(chan struct{})
			go func() { defer close(done); cancel() }()
			_, _ = w.Known(ctx, keys)
			_, _ = w.Events(ctx, keys)
			<-done
		}
		found, err := w.Known(w.ctx, keys)
		w.ok(err, "read fingerprints")
		equal(w, "found", len(found.Fingerprints), len(keys))
	}},
	{"failures/a closed database", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "inc_1")
		w.ok(w.Close(), "close the database")
		w.ok(w.Close(), "close it again")
		if _, err := w.Delivery(w.ctx, acme, d.ID); err == nil || problem.Is(err, problem.NotFound) {
			w.Errorf("a read of a closed database gave %v", err)
		}
		if err := w.AppendEvents(w.ctx, []intake.Accepted{w.event(acme, event.TargetImported, at(0))}); err == nil {
			w.Errorf("a write to a closed database succeeded")
		}
		if _, err := w.Save(w.ctx, []dispatch.Saved{w.moved(d, "inc_1", recorded(success(at(1)), at(1)))}); err == nil {
			w.Errorf("an outcome was written to a closed database")
		}
	}},
}
