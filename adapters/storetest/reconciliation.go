package storetest

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var reconciliationChecks = []Check{
	{"reconciliation/what was counted is there, before and after it ends", func(w *world) {
		s := w.subscribe(acme, nil)
		first := w.tallied(acme, event.VisitReportApproved, at(0), reconciliation.Counted{Expected: 2, NotMatched: 1, Deliveries: 1}, s.ID)
		w.tallied(acme, event.BillingEventSent, at(1), reconciliation.Counted{Expected: 2, NotMatched: 1, FeatureGated: 1}, s.ID)
		w.tallied(acme, event.VisitReportApproved, at(2), reconciliation.Counted{Expected: 2, NotMatched: 1, SetAside: 1}, s.ID)
		w.tallied(acme, event.VisitReportApproved, at(3600), reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
		alien := w.subscribe(other, nil)
		w.tallied(other, event.VisitReportApproved, at(3), reconciliation.Counted{Expected: 1, Deliveries: 1}, alien.ID)
		want := reconciliation.Hour{Begins: firstHour, Counted: reconciliation.Counted{Events: 3, Expected: 6, Deliveries: 1, NotMatched: 3, FeatureGated: 1, SetAside: 1},
			There: reconciliation.There{Events: 3, Deliveries: map[delivery.Status]int{delivery.StatusPending: 1}, FeatureGated: 1}}
		equal(w, "the hour", w.hour(acme), want)
		equal(w, "balanced", want.Balanced(), true)

		w.saved(w.moved(first, "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.Cancel("no longer wanted", at(5)) }))
		want.There.Deliveries = map[delivery.Status]int{delivery.StatusCancelled: 1}
		equal(w, "the hour after an end", w.hour(acme), want)
		equal(w, "unsettled", len(w.unsettled(acme, 10)), 0)
		equal(w, "unsettled of the other tenant", len(w.unsettled(other, 10)), 1)
	}},
	{"reconciliation/an event is of its hour to the microsecond, in whatever order fan-out comes to it", func(w *world) {
		s, second := w.subscribe(acme, nil), firstHour.Add(reconciliation.Span)
		alien := w.subscribe(other, nil)
		var made []delivery.Delivery
		for _, when := range []time.Time{second, firstHour, second, firstHour, second.Add(-time.Microsecond)} {
			counted := reconciliation.Counted{Expected: 2, Deliveries: 1, FeatureGated: 1}
			made = append(made, w.tallied(acme, event.BillingEventSent, when, counted, s.ID), w.tallied(other, event.BillingEventSent, when, counted, alien.ID))
		}
		are := func(status delivery.Status) {
			w.Helper()
			hours, err := w.Hours(w.ctx, acme, firstHour, second.Add(reconciliation.Span))
			w.ok(err, "reconcile")
			for i, n := range []int{3, 2} {
				equal(w, "the hour", hours[i].Counted, reconciliation.Counted{Events: n, Expected: 2 * n, Deliveries: n, FeatureGated: n})
				equal(w, "what it has", hours[i].There, reconciliation.There{Events: n, FeatureGated: n, Deliveries: map[delivery.Status]int{status: n}})
			}
		}
		are(delivery.StatusPending)
		equal(w, "unsettled", w.unsettled(acme, 10), []delivery.Delivery{made[2], made[6], made[8]})
		later, err := w.Unsettled(w.ctx, acme, second, second.Add(reconciliation.Span), 10)
		w.ok(err, "list what is not settled of the second hour")
		equal(w, "unsettled of the second hour", later, []delivery.Delivery{made[0], made[4]})
		equal(w, "unsettled, the first ones", w.unsettled(acme, 2), []delivery.Delivery{made[2], made[6]})
		for _, d := range made {
			w.saved(w.moved(d, "", recorded(success(at(1)), at(1))))
		}
		are(delivery.StatusSucceeded)
	}},
	{"reconciliation/what is fanned out later may come first in the log", func(w *world) {
		s := w.subscribe(acme, nil)
		first, last := w.accept(acme, event.VisitReportApproved, at(0)), w.accept(acme, event.VisitReportApproved, at(1))
		for _, e := range []intake.Accepted{last, first} {
			w.disposed(e, w.held(acme, e.ID).Position, reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID, at(2))
		}
		w.ok(w.ReachFanOut(w.ctx, 1_000_000), "move the fan-out's offset")
		equal(w, "what the hour has", w.hour(acme).There, reconciliation.There{Events: 2, Deliveries: map[delivery.Status]int{delivery.StatusPending: 2}})
	}},
	{"reconciliation/deliveries within a period", func(w *world) {
		s := w.subscribe(acme, nil)
		for _, second := range []float64{0, 1, 3600, 7200} {
			w.tallied(acme, event.VisitReportApproved, at(second), reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
		}
		n, err := w.DeliveriesWithin(w.ctx, acme, firstHour, firstHour.Add(2*time.Hour))
		w.ok(err, "count deliveries")
		equal(w, "deliveries in two hours", n, 3)
		n, err = w.DeliveriesWithin(w.ctx, acme, firstHour.Add(time.Hour), firstHour.Add(2*time.Hour))
		w.ok(err, "count deliveries")
		equal(w, "deliveries in the second hour", n, 1)
		n, err = w.DeliveriesWithin(w.ctx, other, firstHour, firstHour.Add(2*time.Hour))
		w.ok(err, "count deliveries")
		equal(w, "deliveries of another tenant", n, 0)
	}},
	{"reconciliation/what is not fanned out yet waits", func(w *world) {
		for _, when := range []time.Time{at(0), firstHour.Add(-time.Microsecond), firstHour.Add(reconciliation.Span)} {
			w.accept(acme, event.VisitReportApproved, when)
		}
		w.accept(other, event.VisitReportApproved, at(0))
		equal(w, "waiting", w.hour(acme), reconciliation.Hour{Begins: firstHour, Waiting: 1, There: reconciliation.There{Deliveries: map[delivery.Status]int{}}})
	}},
	{"reconciliation/a replay is no disposition", func(w *world) {
		s := w.subscribe(acme, nil)
		first := w.tallied(acme, event.VisitReportApproved, at(0), reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
		e := w.loadEvent(first)
		w.ok(w.Schedule(w.ctx, fanout.Plan{Scheduled: []fanout.Scheduled{w.planned(s, e, at(1), "")}}, func(bool) {}), "replay")
		w.tallied(acme, event.VisitReportApproved, at(2), reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
		equal(w, "deliveries", w.hour(acme).There.Deliveries, map[delivery.Status]int{delivery.StatusPending: 2})
	}},
	{"reconciliation/nor is one of an event that its subscription had none of", func(w *world) {
		e := w.accept(acme, event.VisitReportApproved, at(0))
		w.disposed(e, w.held(acme, e.ID).Position, reconciliation.Counted{}, "", at(0))
		s := w.subscribe(acme, nil)
		for range 2 { // so that its ID is among those that are counted
			w.tallied(acme, event.VisitReportApproved, at(1), reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
			w.saved(w.moved(w.replayed(s, e), "", recorded(success(at(2)), at(2))))
		}
		w.tallied(acme, event.VisitReportApproved, at(3), reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
		equal(w, "deliveries", w.hour(acme).There.Deliveries, map[delivery.Status]int{delivery.StatusPending: 3})
		equal(w, "unsettled", len(w.unsettled(acme, 10)), 3)
	}},
	{"reconciliation/nor in the first hour of a week, whose first event has one", func(w *world) {
		begins := reconciliation.OfReplay(at(0))
		none := w.accept(acme, event.VisitReportApproved, begins.Add(time.Second))
		w.disposed(none, w.held(acme, none.ID).Position, reconciliation.Counted{}, "", at(0))
		s := w.subscribe(acme, nil)
		for range 2 {
			w.tallied(acme, event.VisitReportApproved, begins, reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
			w.replayed(s, none)
			w.saved(w.moved(w.replayed(s, none), "", recorded(success(at(2)), at(2))))
		}
		w.tallied(acme, event.VisitReportApproved, begins, reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
		equal(w, "deliveries", w.hourAt(acme, begins).There.Deliveries, map[delivery.Status]int{delivery.StatusPending: 3})
		equal(w, "unsettled", len(w.unsettledFrom(acme, begins, 10)), 3)
	}},
	{"reconciliation/a check sees what is missing, once for each hour", func(w *world) {
		s := w.subscribe(acme, nil)
		w.tallied(acme, event.VisitReportApproved, at(0), reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
		w.tallied(acme, event.VisitReportApproved, at(3600), reconciliation.Counted{Expected: 2, Deliveries: 2}, s.ID)
		now := at(7200)
		checker := reconciliation.NewChecker(w, func() time.Time { return now }, func(context.Context, reconciliation.Checked, reconciliation.Missing) {})
		for i := range 3 { // the last one finds nothing that is due
			now = at(7200 + float64(i))
			_, err := checker.Step(w.ctx)
			w.ok(err, "check an hour")
		}
		result, err := w.CheckResult(w.ctx)
		w.ok(err, "read the result")
		equal(w, "the result", reconciliation.Result{Unbalanced: result.Unbalanced, CheckedAt: result.CheckedAt.UTC()}, reconciliation.Result{Unbalanced: 1, CheckedAt: at(7201)})
		_, found, err := w.NextCheck(w.ctx, now, now)
		w.ok(err, "look for an hour to check")
		equal(w, "another is due", found, false)
	}},
}

var firstHour = start.Truncate(reconciliation.Span)

// tallied accepts an event and disposes of it as counted, of which at most one delivery is really there.
func (w *world) tallied(owner tenant.ID, t event.Type, now time.Time, counted reconciliation.Counted, subscriptionID string) (d delivery.Delivery) {
	w.Helper()
	e := w.accept(owner, t, now)
	return w.disposed(e, w.held(owner, e.ID).Position, counted, subscriptionID, now)
}

// disposed disposes of an event in its place of the log.
func (w *world) disposed(e intake.Accepted, position int64, counted reconciliation.Counted, subscriptionID string, now time.Time) (d delivery.Delivery) {
	w.Helper()
	owner := e.TenantID
	counted.Events = 1
	tally := fanout.Tally{Tenant: owner, Hour: reconciliation.HourOf(e.At), Counted: counted, FirstPosition: position, LastPosition: position}
	plan := fanout.Plan{}
	if counted.Deliveries > 0 {
		s, err := w.LoadSubscription(w.ctx, dispatch.Lane{Tenant: owner, SubscriptionID: subscriptionID})
		w.ok(err, "load a subscription")
		plan.Scheduled, plan.Bodies = []fanout.Scheduled{w.planned(s, e, now, "")}, []fanout.Body{bodyOf(e)}
		d = plan.Scheduled[0].Delivery
		tally.FirstDelivery, tally.LastDelivery = d.ID, d.ID
	}
	if counted.FeatureGated > 0 {
		plan.Gated = []fanout.Gated{{Tenant: owner, EventID: e.ID, SubscriptionID: subscriptionID, Feature: tenant.BillingWebhooks, SubscriptionVersion: 1, AcceptedAt: e.At}}
	}
	plan.Tallies = []fanout.Tally{tally}
	w.ok(w.Schedule(w.ctx, plan, func(bool) {}), "dispose of an event")
	w.ok(w.ReachFanOut(w.ctx, position), "note how far fan-out has come")
	return d
}

// replayed begins a delivery that somebody has asked for since the event was disposed of.
func (w *world) replayed(s subscription.Subscription, e intake.Accepted) delivery.Delivery {
	w.Helper()
	begun := w.planned(s, e, at(1), "")
	begun.Replay = true
	body := fanout.Body{Tenant: e.TenantID, EventID: e.ID, Number: 1 + w.deliveriesOf(e.ID), Bytes: []byte("{}")}
	w.ok(w.Schedule(w.ctx, fanout.Plan{Bodies: []fanout.Body{body}, Scheduled: []fanout.Scheduled{begun}}, func(bool) {}), "replay")
	return begun.Delivery
}

// hour is the first one.
func (w *world) hour(owner tenant.ID) reconciliation.Hour {
	w.Helper()
	return w.hourAt(owner, firstHour)
}

func (w *world) hourAt(owner tenant.ID, begins time.Time) reconciliation.Hour {
	w.Helper()
	hours, err := w.Hours(w.ctx, owner, begins, begins.Add(reconciliation.Span))
	w.ok(err, "reconcile")
	if len(hours) != 1 {
		w.Fatalf("got hours %+v", hours)
	}
	hours[0].Begins = hours[0].Begins.UTC()
	return hours[0]
}

func (w *world) unsettled(owner tenant.ID, limit int) []delivery.Delivery {
	w.Helper()
	return w.unsettledFrom(owner, firstHour, limit)
}

func (w *world) unsettledFrom(owner tenant.ID, begins time.Time, limit int) []delivery.Delivery {
	w.Helper()
	list, err := w.Unsettled(w.ctx, owner, begins, begins.Add(reconciliation.Span), limit)
	w.ok(err, "list what is not settled")
	return list
}
