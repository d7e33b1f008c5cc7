package storetest

import (
	"context"
	"errors"
	"slices"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var scheduleChecks = []Check{
	{"schedule/a plan is stored whole", func(w *world) {
		active, paused := w.subscribe(acme, nil), w.subscribe(acme, nil)
		held := w.subscribe(acme, nil)
		paused = w.pause(paused, at(1))
		w.ok(w.EndSweep(w.ctx, w.nextSweep(), true, at(1)), "end the sweep")
		e := w.accept(acme, event.BillingEventSent, at(1))
		second := bodyOf(e)
		second.Number, second.Bytes = 2, []byte{0, 1, 0xff}
		free, parked, leased := w.planned(active, e, at(2), ""), w.planned(paused, e, at(2), ""), w.planned(held, e, at(2), "inc_1")
		gated := fanout.Gated{Tenant: acme, EventID: e.ID, SubscriptionID: "sub_gated", Feature: tenant.BillingWebhooks, SubscriptionVersion: 1, AcceptedAt: e.At}
		w.ok(w.Schedule(w.ctx, fanout.Plan{
			Bodies: []fanout.Body{bodyOf(e), second}, Scheduled: []fanout.Scheduled{free, parked, leased}, Gated: []fanout.Gated{gated},
			SetAside: []fanout.SetAside{{Tenant: acme, EventID: e.ID, Reason: "too odd", At: at(2)}},
		}, func(bool) {}), "schedule")
		w.stands(free.Delivery, false)
		w.stands(parked.Delivery, false)
		w.stands(leased.Delivery, true)
		for number, want := range map[int][]byte{1: bodyOf(e).Bytes, 2: second.Bytes} {
			d := free.Delivery
			d.BodyNumber = number
			got, err := w.Body(w.ctx, d)
			w.ok(err, "read a body")
			equal(w, "a body", got, want)
		}
		gatedOf, err := w.GatedOf(w.ctx, acme, e.ID)
		w.ok(err, "read what was gated")
		equal(w, "gated", gatedOf, []queries.Gated{{SubscriptionID: "sub_gated", Feature: tenant.BillingWebhooks}})
		equal(w, "leased are those that are due and not held", idsOf(w.lease(leasing{now: at(2)}).Leased), []string{free.Delivery.ID})
	}},
	{"schedule/what is there already is refused, and the reason said", func(w *world) {
		s := w.subscribe(acme, nil)
		e := w.accept(acme, event.TargetImported, at(0))
		schedule := func(ctx context.Context) error {
			return w.Schedule(ctx, fanout.Plan{Bodies: []fanout.Body{bodyOf(e)}, Scheduled: []fanout.Scheduled{w.planned(s, e, at(1), "")}}, func(bool) {})
		}
		w.ok(schedule(w.ctx), "schedule")
		equal(w, "refused", errors.Is(w.InTx(w.ctx, schedule), fanout.ErrRefused), true)
		gated := fanout.Plan{Gated: []fanout.Gated{{Tenant: acme, EventID: e.ID, SubscriptionID: "sub_gated", Feature: tenant.BillingWebhooks, AcceptedAt: e.At}}}
		w.ok(w.Schedule(w.ctx, gated, func(bool) {}), "note what is gated")
		equal(w, "refused, too", errors.Is(w.Schedule(w.ctx, gated, func(bool) {}), fanout.ErrRefused), true)
		w.stands(w.schedule(s, at(2), ""), false) // the store works on
	}},
	{"schedule/a poisoned event may come again", func(w *world) {
		poison := fanout.Plan{SetAside: []fanout.SetAside{{Tenant: acme, EventID: "evt_1", Reason: "too odd", At: at(2)}}}
		w.ok(w.Schedule(w.ctx, poison, func(bool) {}), "poison an event")
		w.ok(w.Schedule(w.ctx, poison, func(bool) {}), "poison it again")
	}},
	{"schedule/ended is called once, after the commit", func(w *world) {
		s := w.subscribe(acme, nil)
		e := w.accept(acme, event.TargetImported, at(0))
		d := w.planned(s, e, at(0), "inc_1")
		var calls []bool
		visible := false
		inside := 0
		w.ok(w.InTx(w.ctx, func(ctx context.Context) error {
			err := w.Schedule(ctx, fanout.Plan{Bodies: []fanout.Body{bodyOf(e)}, Scheduled: []fanout.Scheduled{d}}, func(committed bool) {
				calls = append(calls, committed)
				_, err := w.Delivery(w.ctx, acme, d.Delivery.ID) // outside the transaction: sees what is committed
				visible = err == nil
			})
			inside = len(calls)
			return err
		}), "schedule")
		equal(w, "calls before the commit", inside, 0)
		equal(w, "calls after it", calls, []bool{true})
		equal(w, "the delivery is visible when ended is called", visible, true)
	}},
	{"schedule/ended is called once, after a rollback", func(w *world) {
		s := w.subscribe(acme, nil)
		e := w.accept(acme, event.TargetImported, at(0))
		d := w.planned(s, e, at(0), "inc_1")
		var calls []bool
		failed := errors.New("no")
		err := w.InTx(w.ctx, func(ctx context.Context) error {
			w.ok(w.Schedule(ctx, fanout.Plan{Bodies: []fanout.Body{bodyOf(e)}, Scheduled: []fanout.Scheduled{d}},
				func(committed bool) { calls = append(calls, committed) }), "schedule")
			return failed
		})
		if !errors.Is(err, failed) {
			w.Errorf("InTx gave %v", err)
		}
		equal(w, "calls", calls, []bool{false})
		_, err = w.Delivery(w.ctx, acme, d.Delivery.ID)
		w.refused(err, "not_found", "read what was rolled back")
		changes, err := w.DeliveryChanges(w.ctx, acme, d.Delivery.ID)
		w.ok(err, "read its stream")
		equal(w, "its changes", len(changes), 0)
	}},
	{"schedule/a delivery is scheduled once", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		e := w.event(acme, event.TargetImported, at(0))
		again := w.planned(s, e, at(1), "")
		again.Delivery.ID = d.ID
		if err := w.Schedule(w.ctx, fanout.Plan{Scheduled: []fanout.Scheduled{again}}, func(bool) {}); err == nil {
			w.Errorf("a delivery was scheduled twice")
		}
		w.stands(d, false)
	}},
	{"schedule/bodies of one event in two tenants are two", func(w *world) {
		mine, theirs := w.subscribe(acme, nil), w.subscribe(other, nil)
		one := w.accept(acme, event.TargetImported, at(0))
		two := w.event(other, event.TargetImported, at(0))
		two.ID = one.ID
		w.ok(w.AppendEvents(w.ctx, []intake.Accepted{two}), "append the same ID for another tenant")
		bodies := []fanout.Body{bodyOf(one), bodyOf(two)}
		bodies[1].Bytes = []byte("theirs")
		plan := fanout.Plan{Bodies: bodies, Scheduled: []fanout.Scheduled{w.planned(mine, one, at(0), ""), w.planned(theirs, two, at(0), "")}}
		w.ok(w.Schedule(w.ctx, plan, func(bool) {}), "schedule for both")
		leased := w.lease(leasing{now: at(0)}).Leased
		slices.SortFunc(leased, func(a, b dispatch.Leased) int { return len(b.Body) - len(a.Body) })
		if len(leased) != 2 {
			w.Fatalf("leased %d, want 2", len(leased))
		}
		equal(w, "my body", leased[0].Body, bodies[0].Bytes)
		equal(w, "their body", leased[1].Body, bodies[1].Bytes)
	}},
}
