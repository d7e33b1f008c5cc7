package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var retryChecks = []Check{
	{"retry/events that were set aside are found, with the reason", func(w *world) {
		odd, well := w.accept(acme, event.TargetImported, at(0)), w.accept(acme, event.TargetImported, at(0))
		alien, older := w.accept(other, event.TargetImported, at(0)), w.accept(acme, event.VisitReportApproved, at(1))
		w.setAside(odd.TenantID, odd.ID, "too odd: \x00")
		w.setAside(acme, older.ID, "odd, too")
		w.setAside(acme, alien.ID, "not theirs")
		w.setAside(acme, "evt_nowhere", "there is no such event")
		for id, want := range map[string]string{odd.ID: "too odd: \x00", well.ID: "", older.ID: "odd, too"} {
			equal(w, "the reason of "+id, w.reason(acme, id), want)
		}
		equal(w, "the reason of another tenant's", w.reason(other, alien.ID), "")
		filtered := func(f queries.EventFilter, want ...string) {
			w.Helper()
			f.SetAside, f.Limit = true, max(f.Limit, 1)
			list, err := w.AcceptedEvents(w.ctx, f)
			w.ok(err, "list what was set aside")
			var ids []string
			for _, e := range list {
				ids = append(ids, e.ID)
			}
			equal(w, "what was set aside", ids, want)
		}
		filtered(queries.EventFilter{Tenant: acme, Limit: 10}, older.ID, odd.ID)
		filtered(queries.EventFilter{Tenant: acme}, older.ID)
		filtered(queries.EventFilter{Tenant: acme, Before: w.held(acme, older.ID).Sequence}, odd.ID)
		filtered(queries.EventFilter{Tenant: acme, Limit: 10, Type: event.VisitReportApproved}, older.ID)
		filtered(queries.EventFilter{Tenant: acme, Limit: 10, Until: at(1)}, odd.ID)
		filtered(queries.EventFilter{Tenant: other, Limit: 10})
		w.countedAside(2)
	}},
	{"retry/it is named in the log again, and what was counted of it is taken back", func(w *world) {
		s := w.subscribe(acme, nil)
		w.tallied(acme, event.VisitReportApproved, at(0), reconciliation.Counted{Expected: 4, NotMatched: 1, FeatureGated: 1, SetAside: 2}, s.ID)
		odd := w.newest(acme)
		w.putAside(fanout.SetAside{Tenant: acme, EventID: odd.ID, Reason: "too odd", At: at(1), NotMatched: 1, FeatureGated: 1, SetAside: 2})
		w.tallied(acme, event.VisitReportApproved, at(2), reconciliation.Counted{Expected: 2, NotMatched: 1, FeatureGated: 1}, s.ID)
		w.tallied(acme, event.VisitReportApproved, at(3600), reconciliation.Counted{Expected: 1, NotMatched: 1}, s.ID)
		last := w.newest(acme)

		w.ok(w.retry(acme, odd.ID, at(5)), "retry an event")
		got := w.held(acme, odd.ID)
		if got.Sequence <= last.Sequence || got.Position <= last.Position {
			w.Errorf("its place in the log is %d, that of the last event before is %d", got.Position, last.Position)
		}
		want := odd
		want.Sequence, want.Position, want.Retried = got.Sequence, got.Position, &queries.Retried{At: at(5), KeyID: anActor.KeyID, KeyName: anActor.KeyName}
		equal(w, "the event", got, want)
		oldest, err := w.OldestUnrouted(w.ctx)
		w.ok(err, "look for what is not fanned out")
		equal(w, "its new record is of the time of", oldest, at(5))
		fannedOut, err := w.FannedOut(w.ctx, got)
		w.ok(err, "ask for the fan-out")
		equal(w, "fanned out", fannedOut, false)
		equal(w, "listed first", w.newest(acme).ID, odd.ID)
		w.countedAside(0)
		w.gated(acme, odd.ID, 0)
		hour := reconciliation.Hour{Begins: firstHour, Waiting: 1, Counted: reconciliation.Counted{Events: 1, Expected: 2, NotMatched: 1, FeatureGated: 1},
			There: reconciliation.There{Events: 1, Deliveries: map[delivery.Status]int{}, FeatureGated: 1}}
		equal(w, "its hour", w.hour(acme), hour)

		e := w.loadEvent(delivery.Delivery{Tenant: acme, EventID: odd.ID})
		w.disposed(e, got.Position, reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID, at(6))
		hour.Waiting, hour.Counted = 0, reconciliation.Counted{Events: 2, Expected: 3, NotMatched: 1, FeatureGated: 1, Deliveries: 1}
		hour.There.Events, hour.There.Deliveries = 2, map[delivery.Status]int{delivery.StatusPending: 1}
		equal(w, "its hour once it is fanned out", w.hour(acme), hour)
		equal(w, "balanced", hour.Balanced(), true)
	}},
	{"retry/only what is set aside, and as often as that", func(w *world) {
		e := w.accept(acme, event.TargetImported, at(0))
		w.refused(w.retry(acme, e.ID, at(1)), problem.Conflict, "retry an event that was not set aside")
		w.refused(w.retry(acme, "evt_nowhere", at(1)), problem.NotFound, "retry an event that is not there")
		for _, second := range []float64{2, 4} {
			w.setAside(acme, e.ID, "odd")
			w.refused(w.retry(other, e.ID, at(second)), problem.NotFound, "retry another tenant's event")
			w.ok(w.retry(acme, e.ID, at(second)), "retry an event")
			w.refused(w.retry(acme, e.ID, at(second+1)), problem.Conflict, "retry it twice")
		}
		equal(w, "retried at", w.held(acme, e.ID).Retried.At, at(4))
	}},
	{"retry/an undone one changes nothing", func(w *world) {
		s := w.subscribe(acme, nil)
		w.tallied(acme, event.VisitReportApproved, at(0), reconciliation.Counted{Expected: 2, FeatureGated: 1, SetAside: 1}, s.ID)
		odd := w.newest(acme)
		w.putAside(fanout.SetAside{Tenant: acme, EventID: odd.ID, Reason: "too odd", At: at(1), FeatureGated: 1, SetAside: 1})
		before, hour := w.held(acme, odd.ID), w.hour(acme)
		failed := errors.New("no")
		err := w.InTx(w.ctx, func(ctx context.Context) error {
			w.ok(w.with(ctx, w.T).retry(acme, odd.ID, at(2)), "retry an event")
			return failed
		})
		if !errors.Is(err, failed) {
			w.Errorf("InTx gave %v", err)
		}
		equal(w, "the event", w.held(acme, odd.ID), before)
		equal(w, "its hour", w.hour(acme), hour)
		oldest, err := w.OldestUnrouted(w.ctx)
		w.ok(err, "look for what is not fanned out")
		equal(w, "what is not fanned out", oldest, time.Time{})
	}},
	{"retry/of many at once one wins", func(w *world) {
		e := w.accept(acme, event.TargetImported, at(0))
		w.setAside(acme, e.ID, "odd")
		errs := make([]error, 8)
		var wait sync.WaitGroup
		for i := range errs {
			wait.Go(func() { errs[i] = w.retry(acme, e.ID, at(1)) })
		}
		wait.Wait()
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
				continue
			}
			w.refused(err, problem.Conflict, "retry what another has retried")
		}
		equal(w, "how many won", won, 1)
	}},
}

// putAside sets an event aside, as fan-out does.
func (w *world) putAside(p fanout.SetAside) {
	w.Helper()
	w.ok(w.Schedule(w.ctx, fanout.Plan{SetAside: []fanout.SetAside{p}}, func(bool) {}), "set an event aside")
}

func (w *world) setAside(owner tenant.ID, id, reason string) {
	w.Helper()
	w.putAside(fanout.SetAside{Tenant: owner, EventID: id, Reason: reason, At: at(1)})
}

func (w *world) setAsideAt(owner tenant.ID, id string, when time.Time) {
	w.Helper()
	w.putAside(fanout.SetAside{Tenant: owner, EventID: id, Reason: "odd", At: when})
}

func (w *world) retry(owner tenant.ID, id string, now time.Time) error {
	retries := queries.EventRetries{Store: w, Now: func() time.Time { return now }}
	return retries.Retry(w.ctx, owner, id, anActor)
}

// held is the event as it is stored.
func (w *world) held(owner tenant.ID, id string) queries.Event {
	w.Helper()
	e, err := w.Event(w.ctx, owner, id)
	w.ok(err, "read an event")
	return e
}

// reason is why the event was set aside; empty when it was not.
func (w *world) reason(owner tenant.ID, id string) string {
	w.Helper()
	aside := w.held(owner, id).SetAside
	if aside == nil {
		return ""
	}
	equal(w, "what was set aside", *aside, fanout.SetAside{Tenant: owner, EventID: id, Reason: aside.Reason, At: at(1)})
	return aside.Reason
}

// newest is the tenant's last event in the log.
func (w *world) newest(owner tenant.ID) queries.Event {
	w.Helper()
	list, err := w.AcceptedEvents(w.ctx, queries.EventFilter{Tenant: owner, Limit: 1})
	w.ok(err, "list events")
	if len(list) != 1 {
		w.Fatalf("%d events", len(list))
	}
	return list[0]
}

func (w *world) countedAside(want int) {
	w.Helper()
	n, err := w.CountSetAside(w.ctx)
	w.ok(err, "count what was set aside")
	equal(w, "what was set aside, of all tenants", n, want)
}
