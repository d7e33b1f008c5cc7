package storetest

import (
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var historyChecks = []Check{
	{"history/every change with who asked for it, and when", func(w *world) {
		s := w.subscribe(acme, nil)
		w.subscribe(other, nil)
		for _, decide := range everyCommand(w) {
			s = w.change(s, decide)
		}
		changes, err := w.SubscriptionHistory(w.ctx, laneOf(s))
		w.ok(err, "read the history")
		var folded subscription.Subscription
		for _, c := range changes {
			w.ok(folded.Apply(c.Change), "apply a change")
			equal(w, "who", c.By, anActor)
			equal(w, "when", c.At, folded.UpdatedAt)
		}
		equal(w, "the fold of the history", folded, s)
	}},
	{"history/of a deleted subscription, of another tenant's, of none", func(w *world) {
		s := w.delete(w.subscribe(acme, nil), at(1))
		changes, err := w.SubscriptionHistory(w.ctx, laneOf(s))
		w.ok(err, "read the history of what was deleted")
		equal(w, "changes", len(changes), 2)
		alien := laneOf(s)
		alien.Tenant = other
		_, err = w.SubscriptionHistory(w.ctx, alien)
		w.refused(err, problem.NotFound, "read another tenant's history")
	}},
	{"history/what a missing feature kept back, by version", func(w *world) {
		s := w.subscribe(acme, nil)
		gate := func(owner tenant.ID, subscriptionID string, version int64, seconds float64) {
			w.Helper()
			e := w.accept(owner, event.BillingEventSent, at(seconds))
			w.ok(w.Schedule(w.ctx, fanout.Plan{Gated: []fanout.Gated{{Tenant: owner, EventID: e.ID, SubscriptionID: subscriptionID,
				Feature: tenant.BillingWebhooks, SubscriptionVersion: version, AcceptedAt: at(seconds)}}}, func(bool) {}), "gate an event")
		}
		gate(acme, s.ID, 1, 1)
		gate(acme, s.ID, 3, 5)
		gate(acme, s.ID, 3, 4)
		gate(acme, s.ID, 4, 6)
		gate(acme, "sub_another", 3, 7)
		gate(other, s.ID, 3, 8)
		kept := func(first, last int64) []subscriptions.Gated {
			w.Helper()
			kept, err := w.GatedEvents(w.ctx, laneOf(s), first, last)
			w.ok(err, "count what was kept back")
			return kept
		}
		one := subscriptions.Gated{Version: 1, Feature: tenant.BillingWebhooks, Events: 1, First: at(1), Last: at(1)}
		three := subscriptions.Gated{Version: 3, Feature: tenant.BillingWebhooks, Events: 2, First: at(4), Last: at(5)}
		equal(w, "versions 1 to 3", kept(1, 3), []subscriptions.Gated{one, three})
		equal(w, "versions 2 and 3", kept(2, 3), []subscriptions.Gated{three})
		equal(w, "version 2", len(kept(2, 2)), 0)
	}},
}
