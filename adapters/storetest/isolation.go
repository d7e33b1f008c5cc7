package storetest

import (
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var isolationChecks = []Check{
	{"isolation/another tenant finds nothing of a delivery", func(w *world) {
		s := w.subscribe(acme, nil)
		open, closed := w.schedule(s, at(0), ""), w.schedule(s, at(0), "")
		closed = w.saved(w.moved(closed, "", recorded(success(at(1)), at(1))))
		for _, d := range []delivery.Delivery{open, closed} {
			_, err := w.Delivery(w.ctx, other, d.ID)
			w.refused(err, problem.NotFound, "read another tenant's delivery")
			changes, err := w.DeliveryChanges(w.ctx, other, d.ID)
			w.ok(err, "read another tenant's stream")
			equal(w, "changes", len(changes), 0)
			foreign := d
			foreign.Tenant = other
			if body, err := w.Body(w.ctx, foreign); err == nil {
				w.Errorf("read another tenant's body %q", body)
			}
			for _, f := range []queries.DeliveryFilter{
				{}, {EventID: d.EventID}, {SubscriptionID: s.ID}, {EventType: d.EventType}, {Status: d.Status}, {Since: at(-1), Until: at(9)}, {Before: "dlv_~"},
			} {
				f.Tenant, f.Limit = other, 10
				list, err := w.Deliveries(w.ctx, f)
				w.ok(err, "list another tenant's deliveries")
				equal(w, "deliveries", len(list), 0)
			}
		}
	}},
	{"isolation/another tenant finds nothing of a subscription", func(w *world) {
		s := w.subscribe(acme, nil)
		w.schedule(s, at(0), "")
		w.schedule(s, at(0), "inc_1")
		w.ok(w.SaveSecret(w.ctx, laneOf(s), "sec_a", aSecret(1), at(0)), "save a secret")
		lane := dispatch.Lane{Tenant: other, SubscriptionID: s.ID}
		_, err := w.LoadSubscription(w.ctx, lane)
		w.refused(err, problem.NotFound, "load another tenant's subscription")
		_, err = w.CurrentSubscription(w.ctx, lane)
		w.refused(err, problem.NotFound, "read the state of another tenant's subscription")
		_, err = w.SubscriptionToChange(w.ctx, lane)
		w.refused(err, problem.NotFound, "change another tenant's subscription")
		states, err := w.LaneStates(w.ctx, []dispatch.Lane{lane})
		w.ok(err, "read the state of another tenant's subscription")
		equal(w, "states", len(states), 0)
		if _, err := w.OpenSecret(w.ctx, other, s.ID, "sec_a"); err == nil {
			w.Errorf("another tenant's secret was opened")
		}
		equal(w, "subscriptions", w.listed(other), nil)
		count, err := w.CountSubscriptions(w.ctx, other)
		w.ok(err, "count another tenant's subscriptions")
		equal(w, "count", count, 0)
		there, _, err := w.SubscriptionsAt(w.ctx, []tenant.ID{other}, 1<<60)
		w.ok(err, "travel in another tenant's time")
		equal(w, "subscriptions at a position", len(there), 0)
		swept, held, err := w.Swept(w.ctx, lane, claimable, 10)
		w.ok(err, "sweep another tenant's lane")
		equal(w, "swept", len(swept), 0)
		equal(w, "held", held, 0)
	}},
	{"isolation/another tenant finds nothing of an event", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "")
		gated := fanout.Gated{Tenant: acme, EventID: d.EventID, SubscriptionID: "sub_gated", Feature: tenant.BillingWebhooks, AcceptedAt: at(0)}
		w.ok(w.Schedule(w.ctx, fanout.Plan{Gated: []fanout.Gated{gated}}, func(bool) {}), "gate the event")
		_, err := w.Event(w.ctx, other, d.EventID)
		w.refused(err, problem.NotFound, "read another tenant's event")
		w.gated(other, d.EventID, 0)
		loaded, err := w.Events(w.ctx, []intake.EventKey{{Tenant: other, ID: d.EventID}})
		w.ok(err, "load another tenant's event")
		equal(w, "loaded", len(loaded), 0)
		equal(w, "events", w.eventIDs(other), nil)
	}},
	{"isolation/an event is its tenant's alone, whoever else has one of its ID", func(w *world) {
		counted := reconciliation.Counted{Expected: 2, FeatureGated: 1, SetAside: 1}
		mine := w.accept(acme, event.BillingEventSent, at(0))
		theirs := w.event(other, event.BillingEventSent, at(1))
		theirs.ID = mine.ID
		w.ok(w.AppendEvents(w.ctx, []intake.Accepted{theirs}), "accept another tenant's event of the same ID")
		for _, e := range []intake.Accepted{mine, theirs} {
			w.disposed(e, w.held(e.TenantID, e.ID).Position, counted, "sub_gated", at(2))
			w.putAside(fanout.SetAside{Tenant: e.TenantID, EventID: e.ID, Reason: "odd", At: at(3), FeatureGated: 1, SetAside: 1})
		}
		before, hour := w.held(other, theirs.ID), w.hour(other)
		w.ok(w.retry(acme, mine.ID, at(4)), "retry one of them")
		equal(w, "the other one", w.held(other, theirs.ID), before)
		equal(w, "its hour", w.hour(other), hour)
		w.gated(other, theirs.ID, 1)
		w.gated(acme, mine.ID, 0)
	}},
	{"isolation/another tenant finds nothing in the directory", func(w *world) {
		w.upsert(acme, named("acme"))
		for _, ref := range all12 {
			_, err := w.ExternalID(w.ctx, other, "sap", ref)
			w.refused(err, problem.NotFound, "read another tenant's external ID")
			w.refused(w.DeleteExternalID(w.ctx, other, "sap", ref), problem.NotFound, "delete another tenant's external ID")
			_, err = w.Record(w.ctx, other, ref)
			w.refused(err, problem.NotFound, "read another tenant's record")
		}
		for _, ref := range all12[:3] {
			w.refused(w.DeleteRecord(w.ctx, other, ref), problem.NotFound, "delete another tenant's record")
		}
		got, err := w.Resolve(w.ctx, []fanout.Lookup{{Tenant: acme, SourceSystem: "sap", References: all12}})
		w.ok(err, "resolve")
		equal(w, "what its owner still has", got[0], resolved("acme", "sap"))
		equal(w, "keys", w.keysOf(other, access.Page{Limit: 10}), nil)
	}},
}

// gated checks how many subscriptions did not get the event since a feature is missing.
func (w *world) gated(owner tenant.ID, eventID string, want int) {
	w.Helper()
	list, err := w.GatedOf(w.ctx, owner, eventID)
	w.ok(err, "read what was gated")
	equal(w, "gated of "+eventID, len(list), want)
}
