package storetest

import (
	"slices"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var retentionChecks = []Check{
	{"retention/what was set aside goes with its event, and its record with the events' records", func(w *world) {
		const weeks = 3 * 7 * 24 * 3600 // a store may keep what is of the same week, or of the next
		old, young := w.accept(acme, event.TargetImported, at(0)), w.accept(acme, event.TargetImported, at(2*weeks))
		w.setAsideAt(acme, old.ID, at(1))
		w.setAsideAt(acme, young.ID, at(2*weeks+1))
		w.ok(w.ReachFanOut(w.ctx, w.held(acme, young.ID).Position), "move the fan-out's offset")
		w.records("poison", 2)
		for range 9 {
			_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(2 * weeks), Events: at(weeks), Attempts: at(weeks), DeadLetters: at(weeks)}, 100)
			w.ok(err, "purge")
		}
		w.records("poison", 1)
		w.countedAside(1)
		w.refused(w.retry(acme, old.ID, at(2*weeks+2)), problem.NotFound, "retry what was purged")
		equal(w, "the reason of the young one", w.held(acme, young.ID).SetAside.Reason, "odd")
		w.ok(w.retry(acme, young.ID, at(2*weeks+2)), "retry the young one")
	}},
	{"retention/a record of what was set aside waits for no later event", func(w *world) {
		only := w.accept(acme, event.TargetImported, at(0))
		w.ok(w.ReachFanOut(w.ctx, w.held(acme, only.ID).Position), "move the fan-out's offset")
		w.setAsideAt(acme, only.ID, at(1))
		const weeks = 3 * 7 * 24 * 3600
		for range 9 {
			_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(weeks), Events: at(weeks), Attempts: at(weeks), DeadLetters: at(weeks)}, 100)
			w.ok(err, "purge")
		}
		w.records("poison", 0)
		w.countedAside(0)
	}},
	{"retention/with an event goes what is its own", func(w *world) {
		const weeks = 3 * 7 * 24 * 3600
		counted := reconciliation.Counted{Expected: 1, FeatureGated: 1}
		accepted := func(e intake.Accepted) intake.Accepted {
			w.ok(w.AppendEvents(w.ctx, []intake.Accepted{e}), "accept an event")
			w.disposed(e, w.held(e.TenantID, e.ID).Position, counted, "sub_gated", e.At)
			return e
		}
		old := accepted(w.event(acme, event.BillingEventSent, at(0)))
		alien := w.event(other, event.BillingEventSent, at(2*weeks))
		alien.ID = old.ID
		accepted(alien)
		young := accepted(w.event(acme, event.BillingEventSent, at(2*weeks)))
		w.schedule(w.subscribe(acme, nil), at(2*weeks+7200), "") // which keeps its own event and no other
		for range 9 {
			_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(2 * weeks), Events: at(weeks), Attempts: at(weeks), DeadLetters: at(weeks)}, 100)
			w.ok(err, "purge")
		}
		w.gated(acme, old.ID, 0)
		w.gated(acme, young.ID, 1)
		w.gated(other, alien.ID, 1)
		begins := reconciliation.HourOf(young.At)
		for _, owner := range []tenant.ID{acme, other} {
			hours, err := w.Hours(w.ctx, owner, start, begins.Add(reconciliation.Span))
			w.ok(err, "reconcile")
			equal(w, "hours that are left", len(hours), 1)
			equal(w, "what the hour has", hours[0].There, reconciliation.There{Events: 1, FeatureGated: 1, Deliveries: map[delivery.Status]int{}})
			equal(w, "it balances", hours[0].Balanced(), true)
		}
	}},
	{"retention/a job goes once it is over and old", func(w *world) {
		s := w.subscribe(acme, nil)
		aged := func(days float64) job.Job {
			j := w.rerender(s)
			j.ID, j.CreatedAt = ids.First("job_", at(days*aDay)), at(days*aDay)
			return j
		}
		over, young := w.worked(aged(-2)), w.worked(aged(0))
		equal(w, "how they ended", []job.Status{over.Status, young.Status}, []job.Status{job.Succeeded, job.Succeeded})
		waits := aged(-3)
		w.ok(w.CreateJob(w.ctx, waits, 10), "create a job that nobody works on")
		_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(0), Events: at(-aDay), Attempts: at(-aDay), DeadLetters: at(-aDay)}, 100)
		w.ok(err, "purge")
		_, err = w.Job(w.ctx, acme, over.ID)
		w.refused(err, problem.NotFound, "read the job that is over")
		equal(w, "the one that is young", w.readJob(young), young)
		equal(w, "the one that is not over", w.readJob(waits), waits)
	}},
	{"retention/a record that fan-out has yet to read stays, however old", func(w *world) {
		const weeks = 3 * 7 * 24 * 3600
		read := w.accept(acme, event.TargetImported, at(0))
		w.ok(w.ReachFanOut(w.ctx, w.held(acme, read.ID).Position+1), "move the fan-out's offset")
		w.accept(acme, event.TargetImported, at(1))
		w.accept(acme, event.TargetImported, at(2))
		for range 9 {
			_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(2 * weeks), Events: at(weeks), Attempts: at(weeks), DeadLetters: at(weeks)}, 100)
			w.ok(err, "purge")
		}
		oldest, err := w.OldestUnrouted(w.ctx)
		w.ok(err, "look for what is not fanned out")
		equal(w, "the oldest that is not", oldest, at(2))
	}},
	{"retention/a delivery goes by when it ended last, and a dead letter by a time of its own", func(w *world) {
		s := w.subscribe(acme, nil)
		retried := func(d delivery.Delivery, o delivery.Outcome) {
			open := w.saved(w.moved(d, "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.RequestRetry(o.StartedAt) }))
			w.saved(w.moved(open, "", recorded(o, o.StartedAt)))
		}
		var dead [3]delivery.Delivery
		for i := range dead {
			dead[i] = w.saved(w.moved(w.schedule(s, at(0), ""), "", recorded(failure(at(1), 410), at(1))))
			gated := fanout.Gated{Tenant: acme, EventID: dead[i].EventID, SubscriptionID: "sub_gated", Feature: tenant.BillingWebhooks, AcceptedAt: at(0)}
			w.ok(w.Schedule(w.ctx, fanout.Plan{Gated: []fanout.Gated{gated}}, func(bool) {}), "gate its event for another")
		}
		first, again, done := dead[0], dead[1], dead[2]
		w.ok(w.ReachFanOut(w.ctx, 1_000_000), "move the fan-out's offset")
		w.closedOn(20, first, again, done)
		retried(again, failure(at(25*aDay), 410))
		retried(done, success(at(25*aDay)))
		w.closedOn(29, first, again, done)
		w.closedOn(31, again, done)
		w.closedOn(54, again) // a store may keep what is of the same week
		equal(w, "events that are left", w.eventIDs(acme), []string{again.EventID})
		w.closedOn(56)
	}},
}

const aDay = 24 * 3600

// closedOn purges so many days after the beginning, with 10 days for events and deliveries and 30 for dead letters, and checks which are
// left, each with what it takes to send it again, and to tell what became of its event.
func (w *world) closedOn(days float64, want ...delivery.Delivery) {
	w.Helper()
	for range 9 {
		_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(days * aDay), Events: at((days - 10) * aDay), Attempts: at((days - 10) * aDay), DeadLetters: at((days - 30) * aDay)}, 100)
		w.ok(err, "purge")
	}
	left, err := w.Deliveries(w.ctx, queries.DeliveryFilter{Tenant: acme, Limit: 10})
	w.ok(err, "list deliveries")
	var ids []string
	for _, d := range left {
		ids = append(ids, d.ID)
		_, err := w.Body(w.ctx, d)
		w.ok(err, "read the body of one that is left")
		changes, err := w.DeliveryChanges(w.ctx, acme, d.ID)
		w.ok(err, "read its stream")
		equal(w, "its changes", int64(len(changes)), d.Version)
		w.loadEvent(d)
		w.gated(acme, d.EventID, 1)
	}
	slices.Sort(ids)
	equal(w, "deliveries that are left", ids, idsOfDeliveries(want))
}

// records checks how many records a topic has.
func (w *world) records(topic string, want int) {
	w.Helper()
	n, err := w.CountRecords(w.ctx, topic)
	w.ok(err, "count the records of "+topic)
	equal(w, "records of "+topic, n, want)
}
