package storetest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var missingChecks = []Check{
	{"missing/a walk over events goes as far as fan-out and the turns have come", func(w *world) {
		var ids []string
		var at5 queries.Event
		for i := range 6 {
			ids = append(ids, w.accept(acme, event.TargetImported, at(float64(i))).ID)
			w.accept(other, event.TargetImported, at(float64(i)))
		}
		at5 = w.held(acme, ids[4])
		walked := func(what string, walk jobs.EventWalk, want ...string) {
			w.Helper()
			walk.Tenant = acme
			found, err := w.WalkEvents(w.ctx, walk)
			w.ok(err, "walk over events")
			var got []string
			for _, e := range found {
				got = append(got, e.ID)
				equal(w, what+", an event", e, w.held(acme, e.ID))
			}
			equal(w, what, got, want)
		}
		all := jobs.EventWalk{UpTo: 1 << 40, Limit: 10}
		walked("before fan-out has begun", all)
		w.ok(w.ReachFanOut(w.ctx, at5.Position), "move the fan-out's offset")
		walked("as far as fan-out has come", all, ids[:5]...)
		walked("two", jobs.EventWalk{UpTo: 1 << 40, Limit: 2}, ids[:2]...)
		walked("behind the second", jobs.EventWalk{After: w.held(acme, ids[1]).Sequence, UpTo: w.held(acme, ids[3]).Sequence, Limit: 10}, ids[2:4]...)
		waits := w.deferred(w.held(acme, ids[3]))
		w.ok(w.Schedule(w.ctx, fanout.Plan{Deferred: []fanout.Deferred{waits}}, func(bool) {}), "leave one for its turn")
		walked("up to what waits for its turn", all, ids[:3]...)
		w.ok(w.turn(w.ctx, waits), "take the turn")
		walked("after its turn", all, ids[:5]...)
	}},
	{"missing/a walk over events of a time finds all of them", walkHours},
	{"missing/a walk over events of a time finds those whose hours are not kept", walkForgottenHours},
	{"missing/a replay begins each delivery once, wherever it is interrupted", func(w *world) {
		events := w.disregarded(3)
		w.accept(other, event.TargetImported, at(1))
		s := w.subscribe(acme, nil)
		w.subscribe(acme, nil)
		calls := map[string]bool{}
		cut := &interrupted{Store: w.Store, fail: func(call string) bool {
			first := !calls[call]
			calls[call] = true
			return first
		}}
		now := at(100)
		j := w.missing(s, now)
		worker := w.workerAt(cut, &now)
		for range 8 {
			_, _ = worker.Step(w.ctx)
			now = now.Add(time.Minute)
		}
		equal(w, "the writes that were cut off", calls, map[string]bool{"Schedule": true, "SaveJob": true})
		done := w.readJob(j)
		equal(w, "what it did", []any{done.Status, done.Tally}, []any{job.Succeeded, job.Tally{Done: 3}})
		for _, e := range events {
			d := w.newestOf(s, e.ID)
			equal(w, "what it is of", []any{d.SubscriptionVersion, d.BodyNumber}, []any{s.Version, 1})
			equal(w, "deliveries of the event", w.deliveriesOf(e.ID), 1)
			w.stands(d, false)
		}
		w.sendable(len(events), now)
		equal(w, "what another one does", w.finished(w.missing(s, at(100))).Tally, job.Tally{})
	}},
	{"missing/an old event is kept until it is sent", func(w *world) {
		const week = 7 * 24 * 3600
		old := w.accept(acme, event.TargetImported, at(-6*week))
		w.disposed(old, w.held(acme, old.ID).Position, reconciliation.Counted{}, "", at(-6*week))
		s := w.subscribe(acme, nil)
		equal(w, "what it did", w.finished(w.missing(s, at(100))).Tally, job.Tally{Done: 1})
		for range 9 {
			_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(200), Events: at(-3 * week), Attempts: at(-3 * week), DeadLetters: at(-3 * week)}, 100)
			w.ok(err, "purge")
		}
		equal(w, "the event", w.held(acme, old.ID).ID, old.ID)
		w.sendable(1, at(300))
	}},
	{"missing/several jobs of several workers begin each delivery once", func(w *world) {
		events := w.disregarded(40)
		s := w.subscribe(acme, nil)
		var all []job.Job
		for range 3 {
			all = append(all, w.missing(s, at(100)))
		}
		w.crowd(at(100))
		done := 0
		for _, j := range all {
			j = w.readJob(j)
			equal(w, "status of "+j.ID, j.Status, job.Succeeded)
			done += j.Done
		}
		equal(w, "done by all", done, len(events))
		for _, e := range events {
			equal(w, "deliveries of "+e.ID, w.deliveriesOf(e.ID), 1)
		}
	}},
	{"missing/a replay waits for fan-out", func(w *world) {
		e := w.disregarded(2)[0]
		s := w.subscribe(acme, nil)
		late := w.accept(acme, event.TargetImported, at(5))
		now := at(100)
		j := w.missing(s, now)
		worker := w.workerAt(w.Store, &now)
		for range 3 {
			_, err := worker.Step(w.ctx)
			w.ok(err, "work on a job")
			now = now.Add(time.Minute)
		}
		waiting := w.readJob(j)
		equal(w, "what it did, and waits for", []any{waiting.Done, waiting.Open(), waiting.Reason}, []any{2, true, job.FanOut})
		w.disposed(late, w.held(acme, late.ID).Position, reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID, at(50))
		for range 2 {
			_, err := worker.Step(w.ctx)
			w.ok(err, "work on a job")
			now = now.Add(time.Minute)
		}
		equal(w, "what it did in the end", []any{w.readJob(j).Status, w.readJob(j).Done}, []any{job.Succeeded, 2})
		equal(w, "deliveries of each", []int{w.deliveriesOf(e.ID), w.deliveriesOf(late.ID)}, []int{1, 1})
	}},
	{"missing/a replay is no disposition, whenever fan-out goes on", func(w *world) {
		e := w.disregarded(1)[0]
		s := w.subscribe(acme, nil)
		w.tallied(acme, event.TargetImported, at(1), reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
		w.finished(w.missing(s, at(2)))
		w.saved(w.moved(w.newestOf(s, e.ID), "", recorded(success(at(3)), at(3))))
		w.worked(w.rerender(s))
		w.tallied(acme, event.TargetImported, at(3), reconciliation.Counted{Expected: 1, Deliveries: 1}, s.ID)
		equal(w, "deliveries of the event", w.deliveriesOf(e.ID), 2)
		h := w.hour(acme)
		if !h.Balanced() || h.Counted.Deliveries != 2 {
			w.Errorf("the hour is %+v: %s", h, h.Missing())
		}
	}},
}

// Overlap has two workers of one database begin what is missing of one subscription at once, both in their transactions: where there is one
// writer, they never are.
func Overlap(t *testing.T, db Database) {
	w := newWorld(t.Context(), t, db)
	events := w.disregarded(20)
	s := w.subscribe(acme, nil)
	all := []job.Job{w.missing(s, at(100)), w.missing(s, at(100))}
	var running, met sync.WaitGroup
	met.Add(len(all))
	for range all {
		m := &meeting{Store: w.Store, met: &met}
		worker := w.worker(m, at(100))
		running.Go(func() {
			for !m.came && t.Context().Err() == nil { // a job that the other one just looks at is passed over
				if _, err := worker.Step(w.ctx); err != nil {
					t.Errorf("work on a job: %v", err)
				}
			}
		})
	}
	running.Wait()
	equal(w, "done by both", w.readJob(all[0]).Done+w.readJob(all[1]).Done, len(events))
	for _, e := range events {
		equal(w, "deliveries of "+e.ID, w.deliveriesOf(e.ID), 1)
	}
}

// meeting is a store whose user goes on, once he has seen what there is, when all others have.
type meeting struct {
	Store
	met  *sync.WaitGroup
	came bool
}

func (m *meeting) NewestDeliveries(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error) {
	newest, err := m.Store.NewestDeliveries(ctx, lane, eventIDs, upTo, until)
	if !m.came {
		m.came = true
		m.met.Done()
		m.met.Wait()
	}
	return newest, err
}

// disregarded are events of a tenant without subscriptions, as fan-out disposes of them.
func (w *world) disregarded(n int) (events []intake.Accepted) {
	w.Helper()
	for i := range n {
		e := w.accept(acme, event.TargetImported, at(float64(i)/float64(n)))
		w.disposed(e, w.held(acme, e.ID).Position, reconciliation.Counted{}, "", at(1))
		events = append(events, e)
	}
	return events
}

// missing begins a replay of what the subscription never got.
func (w *world) missing(s subscription.Subscription, now time.Time) job.Job {
	w.Helper()
	j, err := w.jobs(w.Store, &now).Begin(w.ctx, jobs.Request{Tenant: s.Tenant, Kind: job.Replay, Mode: job.Missing, Filter: job.Filter{SubscriptionID: s.ID}})
	w.ok(err, "begin a job")
	return j
}

// sendable leases so many deliveries, each with its body.
func (w *world) sendable(n int, now time.Time) {
	w.Helper()
	leased := w.lease(leasing{now: now}).Leased
	equal(w, "what is leased", len(leased), n)
	for _, l := range leased {
		body, err := w.Body(w.ctx, l.Delivery)
		if err != nil || l.Unreadable != nil || len(body) == 0 || !bytes.Equal(l.Body, body) {
			w.Errorf("%s is leased with the body %q (%v), and has %q (%v)", l.Delivery.ID, l.Body, l.Unreadable, body, err)
		}
	}
}

// newestOf is the event's newest delivery to the subscription.
func (w *world) newestOf(s subscription.Subscription, eventID string) delivery.Delivery {
	w.Helper()
	newest, err := w.NewestOf(w.ctx, laneOf(s), []string{eventID})
	w.ok(err, "find the newest delivery")
	return newest[eventID]
}

// walkHours compares what walks over times find with all events that were accepted then, one of which came later in the log.
func walkHours(w *world) {
	hour := func(n float64) time.Time { return firstHour.Add(time.Duration(n * float64(reconciliation.Span))) }
	var events []intake.Accepted
	for _, when := range []float64{-3, -1.5, 0, 0.5, 0.999, 1, 0.25, 1.5, 3, -0.5} {
		e := w.accept(acme, event.TargetImported, hour(when))
		events = append(events, e)
	}
	for _, e := range events {
		w.disposed(e, w.held(acme, e.ID).Position, reconciliation.Counted{}, "", at(1))
	}
	for _, f := range []job.Filter{
		{}, {Since: hour(0), Until: hour(1)}, {Since: hour(0.1), Until: hour(0.9)}, {Since: hour(-2), Until: hour(0.5)}, {Since: hour(1)}, {Since: hour(2), Until: hour(2.5)},
		{Since: hour(4)}, {Since: hour(-0.5), Until: hour(-0.5).Add(time.Microsecond)}, {Since: hour(-9), Until: hour(-8)},
	} {
		var got, want []string
		for _, e := range events {
			if f.Accepts(e.Type, e.At) {
				want = append(want, e.ID)
			}
		}
		walk := jobs.EventWalk{Tenant: acme, UpTo: 1 << 40, Since: f.Since, Until: f.Until, Limit: 2}
		for {
			found, err := w.WalkEvents(w.ctx, walk)
			w.ok(err, "walk over events")
			for _, e := range found {
				if walk.After = e.Sequence; f.Accepts(e.Type, e.AcceptedAt) {
					got = append(got, e.ID)
				}
			}
			if len(found) < walk.Limit {
				break
			}
		}
		equal(w, fmt.Sprintf("from %s until %s", f.Since, f.Until), got, want)
	}
}

// walkForgottenHours has the hours of older events deleted, as where what is counted was kept for a shorter time than the events.
func walkForgottenHours(w *world) {
	const hour = 3600
	old, now := w.accept(acme, event.TargetImported, at(-30*hour)), w.accept(acme, event.TargetImported, at(0))
	for _, e := range []intake.Accepted{old, now} {
		w.disposed(e, w.held(acme, e.ID).Position, reconciliation.Counted{}, "", at(1))
	}
	for range 3 {
		_, err := w.Purge(w.ctx, retention.Cutoffs{Now: at(2), Events: at(-999 * hour), Attempts: at(-3 * hour), DeadLetters: at(-999 * hour)}, 100)
		w.ok(err, "purge")
	}
	for _, f := range []struct {
		since, until time.Time
		want         []string
	}{
		{at(-40 * hour), time.Time{}, []string{old.ID, now.ID}},
		{at(-40 * hour), at(-20 * hour), []string{old.ID}},
	} {
		found, err := w.WalkEvents(w.ctx, jobs.EventWalk{Tenant: acme, UpTo: 1 << 40, Since: f.since, Until: f.until, Limit: 10})
		w.ok(err, "walk over events")
		var got []string
		for _, e := range found {
			if (job.Filter{Since: f.since, Until: f.until}).Accepts(e.Type, e.AcceptedAt) {
				got = append(got, e.ID)
			}
		}
		equal(w, fmt.Sprintf("from %s until %s", f.since, f.until), got, f.want)
	}
}
