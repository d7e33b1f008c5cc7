package storetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var jobChecks = []Check{
	{"jobs/one is kept as it is", func(w *world) {
		j := w.job(acme, job.Filter{SubscriptionID: "sub_1", EventTypes: subscription.Filter{"visit_report.*"}, Statuses: delivery.RetryableStatuses(), Since: at(-5), Until: at(5)})
		equal(w, "the new job", w.readJob(j), j)
		j.Advance(job.Tally{Done: 3, Skipped: map[string]int{"the subscription is paused": 2}, Failed: map[string]int{"gone": 1}}, "dlv_7", at(1))
		w.ok(w.SaveJob(w.ctx, j, at(1)), "save it")
		equal(w, "the job on its way", w.readJob(j), j)
		j.Finish(at(2))
		w.ok(w.SaveJob(w.ctx, j, at(2)), "save it")
		equal(w, "the job that has finished", w.readJob(j), j)
		_, err := w.Job(w.ctx, acme, "job_nowhere")
		w.refused(err, problem.NotFound, "read a job that is not there")
		_, err = w.Job(w.ctx, other, j.ID)
		w.refused(err, problem.NotFound, "read another tenant's job")
		foreign := j
		foreign.Tenant = other
		w.refused(w.SaveJob(w.ctx, foreign, at(3)), problem.NotFound, "save another tenant's job")
	}},
	{"jobs/pages, newest first", func(w *world) {
		first, second, third := w.job(acme, job.Filter{}), w.job(acme, job.Filter{}), w.job(acme, job.Filter{})
		w.job(other, job.Filter{})
		page, err := w.Jobs(w.ctx, acme, "", 2)
		w.ok(err, "list the jobs")
		equal(w, "the first page", page, []job.Job{third, second})
		page, err = w.Jobs(w.ctx, acme, second.ID, 2)
		w.ok(err, "list the jobs")
		equal(w, "the second page", page, []job.Job{first})
	}},
	{"jobs/a tenant has no more open ones than it may", func(w *world) {
		first := w.job(acme, job.Filter{})
		w.job(acme, job.Filter{})
		w.refused(w.CreateJob(w.ctx, w.newJob(acme, job.Filter{}), 2), problem.Conflict, "create a third job")
		w.job(other, job.Filter{})
		first.Finish(at(1))
		w.ok(w.SaveJob(w.ctx, first, at(1)), "finish the first")
		w.ok(w.CreateJob(w.ctx, w.newJob(acme, job.Filter{}), 2), "create another")
	}},
	{"jobs/they take turns", func(w *world) {
		_, found, turn, err := w.NextJob(w.ctx, at(0))
		w.ok(err, "look for a job")
		equal(w, "found one, and its turn", []any{found, turn}, []any{false, time.Time{}})
		first, second := w.job(acme, job.Filter{}), w.job(other, job.Filter{})
		w.ok(w.SaveJob(w.ctx, second, at(1)), "save the second")
		equal(w, "the first turn", w.nextJob(at(5)), first.ID)
		w.ok(w.SaveJob(w.ctx, first, at(2)), "save the first")
		equal(w, "the second turn", w.nextJob(at(5)), second.ID)
		_ = second.Cancel(at(3))
		w.ok(w.SaveJob(w.ctx, second, at(3)), "cancel the second")
		equal(w, "the third turn", w.nextJob(at(5)), first.ID)
		_, found, turn, err = w.NextJob(w.ctx, at(1))
		w.ok(err, "look for a job")
		equal(w, "found one, and its turn", []any{found, turn}, []any{false, at(2)})
	}},
	{"jobs/a walk misses nothing that the filter picks", walkEveryFilter},
	{"jobs/the newest delivery of an event", func(w *world) {
		s, sibling := w.subscribe(acme, nil), w.subscribe(acme, nil)
		first := w.schedule(s, at(0), "")
		event := w.loadEvent(first)
		w.saved(w.moved(first, "", recorded(success(at(1)), at(1))))
		second, third := w.planned(s, event, at(2), ""), w.planned(s, event, at(3), "")
		foreign := w.planned(sibling, event, at(4), "")
		w.ok(w.Schedule(w.ctx, fanout.Plan{Scheduled: []fanout.Scheduled{second, third, foreign}}, func(bool) {}), "schedule three more")
		newest := func(upTo string, until time.Time, want map[string]string) {
			w.Helper()
			got, err := w.NewestDeliveries(w.ctx, laneOf(s), []string{event.ID, "evt_nowhere"}, upTo, until)
			w.ok(err, "find the newest")
			equal(w, "the newest", got, want)
		}
		newest("dlv_~", time.Time{}, map[string]string{event.ID: third.Delivery.ID})
		newest(second.Delivery.ID, time.Time{}, map[string]string{event.ID: second.Delivery.ID})
		newest("dlv_~", at(2), map[string]string{event.ID: first.ID})
		newest("dlv_~", at(2).Add(1), map[string]string{event.ID: second.Delivery.ID})
		newest("dlv_", time.Time{}, map[string]string{})
		w.saved(w.moved(second.Delivery, "", recorded(success(at(5)), at(5))))
		newest(second.Delivery.ID, time.Time{}, map[string]string{event.ID: second.Delivery.ID})
		newest("dlv_~", at(2), map[string]string{event.ID: first.ID})
	}},
	{"jobs/the bodies of events", func(w *world) {
		d := w.schedule(w.subscribe(acme, nil), at(0), "")
		more := fanout.Body{Tenant: acme, EventID: d.EventID, Number: 2, Bytes: []byte("{}")}
		w.ok(w.Schedule(w.ctx, fanout.Plan{Bodies: []fanout.Body{more}}, func(bool) {}), "add a body")
		want := map[string][]fanout.Body{d.EventID: {bodyOf(w.loadEvent(d)), more}}
		w.ok(w.InTx(w.ctx, func(ctx context.Context) error {
			got, err := w.EventBodies(ctx, acme, []string{d.EventID, "evt_nowhere"})
			equal(w, "the bodies", got, want)
			return err
		}), "read the bodies")
		got, err := w.EventBodies(w.ctx, other, []string{d.EventID})
		w.ok(err, "read another tenant's bodies")
		equal(w, "another tenant's", len(got), 0)
	}},
	{"jobs/a retry makes due what failed, and leaves the rest alone", retryInBulk},
	{"jobs/a retry reaches what a clock that was ahead has made", func(w *world) {
		s := w.subscribe(acme, nil)
		*w.lastID += 1000
		dead := w.inStatus(s, event.VisitReportApproved, delivery.StatusDeadLetter, 1)
		*w.lastID -= 1000
		now := at(100)
		service := w.jobs(w.Store, &now)
		j, err := service.Begin(w.ctx, jobs.Request{Tenant: acme, Kind: job.Retry, Mode: job.Original, Filter: job.Filter{Statuses: []delivery.Status{delivery.StatusDeadLetter}}})
		w.ok(err, "begin a job")
		_, err = jobs.NewWorker(service, w.Store).Step(w.ctx)
		w.ok(err, "work on it")
		equal(w, "what it did", w.readJob(j).Tally, job.Tally{Done: 1})
		equal(w, "the delivery", w.read(dead).Status, delivery.StatusPending)
	}},
	{"jobs/a replay of the original bytes", func(w *world) {
		s := w.subscribe(acme, nil)
		old := w.saved(w.moved(w.schedule(s, at(0), ""), "", recorded(success(at(1)), at(1))))
		j := w.newJob(acme, job.Filter{SubscriptionID: s.ID, Statuses: delivery.RetryableStatuses()})
		j.Kind = job.Replay
		done := w.worked(j)
		equal(w, "what it did", done.Tally, job.Tally{Done: 1})
		equal(w, "the delivery", w.read(old).Status, delivery.StatusPending)
		equal(w, "its ID, its bytes and its attempts so far", []any{w.read(old).BodyNumber, w.read(old).Attempts}, []any{old.BodyNumber, 1})
	}},
	{"jobs/a replay renders anew, once for each event, wherever it is interrupted", rerenderInterrupted},
	{"jobs/a replay and a bulk retry ask the gate again", func(w *world) {
		s := w.subscribe(acme, nil)
		old := w.scheduleType(s, event.BillingEventReady, at(0), "")
		w.saved(w.moved(old, "", recorded(success(at(1)), at(1))))
		anew := w.rerender(s)
		stored, retry := w.rerender(s), w.newJob(acme, anew.Filter)
		stored.Mode = job.Original
		for _, j := range []job.Job{anew, stored, retry} {
			done := w.worked(j)
			equal(w, "what a "+string(j.Kind)+" "+string(j.Mode)+" did", done.Tally, job.Tally{Skipped: map[string]int{"the tenant does not have the feature billing_webhooks": 1}})
		}
		equal(w, "the delivery", w.read(old).Status, delivery.StatusSucceeded)
	}},
	{"jobs/several workers do everything once", func(w *world) {
		s := w.subscribe(acme, nil)
		var dead []delivery.Delivery
		for i := range 40 {
			dead = append(dead, w.inStatus(s, event.VisitReportApproved, delivery.StatusDeadLetter, float64(i)))
		}
		for range 3 {
			w.ok(w.CreateJob(w.ctx, w.newJob(acme, job.Filter{Statuses: []delivery.Status{delivery.StatusDeadLetter}}), 10), "create a job")
		}
		w.crowd(at(100))
		for _, d := range dead {
			changes, err := w.DeliveryChanges(w.ctx, acme, d.ID)
			w.ok(err, "read the stream")
			equal(w, "changes of "+d.ID, len(changes), int(d.Version)+1)
		}
		list, err := w.Jobs(w.ctx, acme, "", 10)
		w.ok(err, "list the jobs")
		done := 0
		for _, j := range list {
			equal(w, "status of "+j.ID, j.Status, job.Succeeded)
			done += j.Done
		}
		equal(w, "done by all", done, len(dead))
	}},
	{"jobs/one that cannot go on does not hold up the others", func(w *world) {
		s := w.subscribe(acme, nil)
		w.saved(w.moved(w.schedule(s, at(0), ""), "", recorded(success(at(1)), at(1))))
		broken := w.rerender(s)
		w.ok(w.CreateJob(w.ctx, broken, 10), "create a job")
		fine := w.job(acme, job.Filter{Statuses: []delivery.Status{delivery.StatusDeadLetter}})
		failing := &interrupted{Store: w.Store, fail: func(call string) bool { return call == "Schedule" }}
		now := at(10)
		worker := w.workerAt(failing, &now)
		for range 30 {
			_, _ = worker.Step(w.ctx)
			now = now.Add(time.Minute)
		}
		equal(w, "the one that could go on", w.readJob(fine).Status, job.Succeeded)
		equal(w, "the one that could not", w.readJob(broken).Status, job.Failed)
		equal(w, "what it did", w.readJob(broken).Tally, job.Tally{})
	}},
}

// walkEveryFilter walks in short steps, and compares what the filter picks of each with what it picks of all deliveries.
func walkEveryFilter(w *world) {
	all := everyStatus(w)
	for _, statuses := range [][]delivery.Status{
		{delivery.StatusDeadLetter}, {delivery.StatusCancelled, delivery.StatusDeadLetter}, {delivery.StatusRetrying}, {delivery.StatusSucceeded},
		{delivery.StatusRetrying, delivery.StatusDeadLetter}, delivery.RetryableStatuses(),
	} {
		for bits := range 1 << 4 {
			f := job.Filter{Statuses: statuses}
			if bits&1 != 0 {
				f.SubscriptionID = all[4].SubscriptionID
			}
			if bits&2 != 0 {
				f.EventID = all[4].EventID
			}
			if bits&4 != 0 {
				f.EventTypes = subscription.Filter{"target.*"}
			}
			if bits&8 != 0 {
				f.Since, f.Until = at(3), at(20)
			}
			for _, last := range []int{16, 24} { // the first is open and retrying, and of that subscription
				var want []string
				for _, d := range all[:last+1] {
					if f.Matches(d) {
						want = append(want, d.ID)
					}
				}
				equal(w, "walked", walk(w, f, all[last].ID), want)
			}
		}
	}
}

func walk(w *world, f job.Filter, upTo string) (ids []string) {
	for after := ""; ; {
		seen, err := w.WalkDeliveries(w.ctx, jobs.Walk{Tenant: acme, Filter: f, After: after, UpTo: upTo, Limit: 3})
		w.ok(err, "walk")
		for _, d := range seen {
			if f.Matches(d) {
				ids = append(ids, d.ID)
			}
			if d.ID <= after || d.Tenant != acme {
				w.Fatalf("%s of %s came after %s", d.ID, d.Tenant, after)
			}
			after = d.ID
		}
		if len(seen) < 3 {
			return ids
		}
	}
}

func retryInBulk(w *world) {
	active, paused, deleted := w.subscribe(acme, nil), w.subscribe(acme, nil), w.subscribe(acme, nil)
	dead := w.inStatus(active, event.VisitReportApproved, delivery.StatusDeadLetter, 1)
	retrying := w.inStatus(active, event.VisitReportApproved, delivery.StatusRetrying, 2)
	succeeded := w.inStatus(active, event.VisitReportApproved, delivery.StatusSucceeded, 3)
	held := w.inStatus(active, event.VisitReportApproved, delivery.StatusDelivering, 3)
	asleep := w.inStatus(paused, event.VisitReportApproved, delivery.StatusDeadLetter, 4)
	gone := w.inStatus(deleted, event.VisitReportApproved, delivery.StatusDeadLetter, 5)
	foreign := w.inStatus(w.subscribe(other, nil), event.VisitReportApproved, delivery.StatusDeadLetter, 5)
	w.pause(paused, at(6))
	w.delete(deleted, at(6))
	done := w.worked(w.newJob(acme, job.Filter{Statuses: []delivery.Status{delivery.StatusRetrying, delivery.StatusDeadLetter}}))
	equal(w, "what it did", done.Tally, job.Tally{Done: 2, Skipped: map[string]int{"the subscription is paused": 1, "the subscription was deleted": 1}})
	equal(w, "its status", done.Status, job.Succeeded)
	for _, d := range []delivery.Delivery{dead, retrying} {
		got := w.read(d)
		equal(w, "status, failures and due time of what is sent again", []any{got.Status, got.Failures, got.DueAt}, []any{delivery.StatusPending, 0, at(100)})
		w.stands(got, false)
	}
	for _, d := range []delivery.Delivery{succeeded, held, asleep, gone, foreign} {
		equal(w, "what was left alone", w.read(d), d)
	}
}

// rerenderInterrupted first interrupts the worker at each of its writes in turn; in the end each event has one new delivery.
func rerenderInterrupted(w *world) {
	s := w.subscribe(acme, nil)
	var old []delivery.Delivery
	for i := range 3 {
		old = append(old, w.saved(w.moved(w.schedule(s, at(float64(i)), ""), "", recorded(success(at(4)), at(4)))))
	}
	again := w.planned(s, w.loadEvent(old[0]), at(5), "") // an earlier replay of the first
	w.ok(w.Schedule(w.ctx, fanout.Plan{Scheduled: []fanout.Scheduled{again}}, func(bool) {}), "schedule an earlier replay")
	w.saved(w.moved(again.Delivery, "", recorded(success(at(6)), at(6))))
	j := w.rerender(s)
	w.ok(w.CreateJob(w.ctx, j, 10), "create a job")
	calls := map[string]bool{}
	cut := &interrupted{Store: w.Store, fail: func(call string) bool {
		first := !calls[call]
		calls[call] = true
		return first
	}}
	now := at(100)
	worker := w.workerAt(cut, &now)
	for range 8 {
		_, _ = worker.Step(w.ctx)
		now = now.Add(time.Minute)
	}
	equal(w, "the writes that were cut off", calls, map[string]bool{"Schedule": true, "SaveJob": true})
	done := w.readJob(j)
	equal(w, "what it did", []any{done.Status, done.Tally}, []any{job.Succeeded, job.Tally{Done: 3}})
	for i, d := range old {
		newest, err := w.NewestDeliveries(w.ctx, laneOf(s), []string{d.EventID}, "dlv_~", time.Time{})
		w.ok(err, "find the new delivery")
		got, err := w.Delivery(w.ctx, acme, newest[d.EventID])
		w.ok(err, "read the new delivery")
		equal(w, "what it is of", []any{got.EventID, got.SubscriptionID, got.SubscriptionVersion, got.Status}, []any{d.EventID, s.ID, s.Version, delivery.StatusPending})
		if len(got.Warnings) == 0 || got.BodyNumber != 2 {
			w.Errorf("the body is number %d with the warnings %v", got.BodyNumber, got.Warnings)
		}
		equal(w, "deliveries of the event", w.deliveriesOf(d.EventID), []int{3, 2, 2}[i])
		w.stands(got, false)
	}
}

// interrupted is a store whose writes may be cut off.
type interrupted struct {
	Store
	fail func(call string) bool
}

var errCut = errors.New("cut off")

func (s *interrupted) SaveJob(ctx context.Context, j job.Job, turn time.Time) error {
	if err := s.Store.SaveJob(ctx, j, turn); err != nil {
		return err
	}
	if j.Stumbles == 0 && s.fail("SaveJob") {
		return errCut
	}
	return nil
}

func (s *interrupted) Schedule(ctx context.Context, plan fanout.Plan, ended func(bool)) error {
	if err := s.Store.Schedule(ctx, plan, ended); err != nil {
		return err
	}
	if s.fail("Schedule") {
		return errCut
	}
	return nil
}

func (w *world) deliveriesOf(eventID string) int {
	w.Helper()
	seen, err := w.WalkDeliveries(w.ctx, jobs.Walk{Tenant: acme, Filter: job.Filter{EventID: eventID, Statuses: delivery.Statuses()}, UpTo: "dlv_~", Limit: 100})
	w.ok(err, "walk an event's deliveries")
	return len(seen)
}

// newJob is a bulk retry that was not created yet.
func (w *world) newJob(owner tenant.ID, f job.Filter) job.Job {
	return job.New(w.id("job_"), owner, job.Retry, job.Original, f, job.Requester{KeyID: "key_1", KeyName: "a key"}, at(0))
}

func (w *world) job(owner tenant.ID, f job.Filter) job.Job {
	w.Helper()
	j := w.newJob(owner, f)
	w.ok(w.CreateJob(w.ctx, j, 10), "create a job")
	return j
}

// rerender is a replay of all that the subscription got.
func (w *world) rerender(s subscription.Subscription) job.Job {
	j := w.newJob(s.Tenant, job.Filter{SubscriptionID: s.ID, Statuses: delivery.RetryableStatuses()})
	j.Kind, j.Mode = job.Replay, job.Rerender
	return j
}

func (w *world) readJob(j job.Job) job.Job {
	w.Helper()
	got, err := w.Job(w.ctx, j.Tenant, j.ID)
	w.ok(err, "read "+j.ID)
	return got
}

func (w *world) nextJob(now time.Time) string {
	w.Helper()
	j, found, _, err := w.NextJob(w.ctx, now)
	w.ok(err, "look for a job")
	if !found {
		w.Fatalf("no job has its turn")
	}
	return j.ID
}

func (w *world) worker(store Store, now time.Time) *jobs.Worker { return w.workerAt(store, &now) }

func (w *world) workerAt(store Store, now *time.Time) *jobs.Worker {
	return jobs.NewWorker(w.jobs(store, now), store)
}

func (w *world) jobs(store Store, now *time.Time) *jobs.Service {
	return &jobs.Service{Store: store, Picker: jobs.Picker{Deliveries: store, Events: store, Gate: nobodyPays{}}, Now: func() time.Time { return *now }, NewID: w.safeID()}
}

// safeID is id for several goroutines.
func (w *world) safeID() func(string) string {
	return func(prefix string) string {
		idLock.Lock()
		defer idLock.Unlock()
		return w.id(prefix)
	}
}

var idLock sync.Mutex

// worked creates the job and works on it to its end.
func (w *world) worked(j job.Job) job.Job {
	w.Helper()
	w.ok(w.CreateJob(w.ctx, j, 10), "create a job")
	return w.finished(j)
}

// crowd has several workers work on the jobs at once, each for as many steps as all of them take.
func (w *world) crowd(now time.Time) {
	w.Helper()
	var running sync.WaitGroup
	for range 4 {
		worker := w.worker(w.Store, now)
		running.Go(func() {
			for range 8 {
				_, _ = worker.Step(w.ctx) // one that met another's is repeated
			}
		})
	}
	running.Wait()
}

// finished works on the job to its end.
func (w *world) finished(j job.Job) job.Job {
	w.Helper()
	worker := w.worker(w.Store, at(100))
	for range 10 {
		_, err := worker.Step(w.ctx)
		w.ok(err, "work on a job")
	}
	return w.readJob(j)
}

type nobodyPays struct{}

func (nobodyPays) Enabled(context.Context, tenant.ID, tenant.Feature) (bool, error) {
	return false, nil
}
