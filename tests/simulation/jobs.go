package simulation

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// resent is a delivery that a step of a job has made due, at a version. It may have been rolled back.
type resent struct {
	job string
	at  time.Time
}

// clerk asks for bulk retries and replays, by one process or another, and takes some of them back.
func (w *world) clerk(a *activity) {
	for i := range w.jobs {
		a.sleep(w.now.Add(time.Duration(w.office.Int64N(int64(30*time.Second)))), nil)
		p := w.processes[w.office.IntN(len(w.processes))]
		if p.dead || p.stopping {
			continue
		}
		request := w.bulk(w.office, i%3 == 1)
		if request.Mode == job.Rerender { // what one renders anew for
			err := p.store.Upsert(context.Background(), request.Tenant, entries(request.Tenant, 100+i))
			w.trace.line("clerk: directory of %s by %s: %v", request.Tenant, p.name, err)
		}
		j, err := p.jobs.Begin(context.Background(), request)
		w.trace.line("clerk: %s %s by %s: %v", j.Kind, j.ID, p.name, err)
		if err == nil && w.office.IntN(6) == 0 {
			a.sleep(w.now.Add(time.Duration(w.office.Int64N(int64(time.Second)))), nil)
			_, err = p.jobs.Cancel(context.Background(), j.Tenant, j.ID)
			w.trace.line("clerk: cancel %s by %s: %v", j.ID, p.name, err)
		}
	}
	w.busy--
}

// bulk is a request for a job, by the chance of whoever asks; if missing is set for a replay of what is missing.
func (w *world) bulk(of *rand.Rand, missing bool) jobs.Request {
	owner := tenants[of.IntN(w.tenants)]
	states := w.store.States()
	s := states[of.IntN(len(states))]
	if missing {
		f := job.Filter{SubscriptionID: s.ID}
		if of.IntN(2) == 0 {
			f.Since = w.now.Add(-time.Duration(of.Int64N(int64(time.Minute))))
		}
		return jobs.Request{Tenant: s.Tenant, Kind: job.Replay, Mode: job.Missing, Filter: f}
	}
	if of.IntN(2) == 0 {
		return jobs.Request{Tenant: s.Tenant, Kind: job.Replay, Mode: []job.Mode{job.Original, job.Rerender}[of.IntN(2)], Filter: job.Filter{SubscriptionID: s.ID, Statuses: delivery.RetryableStatuses()}}
	}
	return jobs.Request{Tenant: owner, Kind: job.Retry, Mode: job.Original,
		Filter: job.Filter{Statuses: []delivery.Status{delivery.StatusRetrying, delivery.StatusDeadLetter}}}
}

// resends notes what the step of a job that is under way makes due.
func (w *world) resends(id string, row delivery.Delivery, changes []delivery.Change) {
	for i, c := range changes {
		if c, ok := c.(delivery.RetryRequested); ok {
			w.journal.resent[lease{row.ID, row.Version + int64(i) + 1}] = resent{id, c.At}
		}
	}
}

// checkJobs is what must be true of jobs at any time: each goes on where it was, and has one end.
func (w *world) checkJobs() {
	for _, j := range w.store.AllJobs() {
		before, known := w.journal.jobs[j.ID]
		switch {
		case !known:
		case !before.Open() && (j.Status != before.Status || !j.FinishedAt.Equal(before.FinishedAt) || j.Done != before.Done):
			w.violate("J1", "%s had ended: it was %+v, and is %+v", j.ID, before, j)
		case j.After < before.After || j.AfterEvent < before.AfterEvent || j.Done < before.Done:
			w.violate("J1", "%s went back: it was %+v, and is %+v", j.ID, before, j)
		}
		w.journal.jobs[j.ID] = j
	}
}

// isDone reports whether nothing is left to do.
func (w *world) isDone() bool {
	return w.store.AtRest() && !slices.ContainsFunc(w.store.AllJobs(), w.goesOn)
}

// goesOn reports whether the job will go on by itself: what is parked may leave it no room.
func (w *world) goesOn(j job.Job) bool {
	return j.Open() && (j.Reason != job.Room || w.leavesRoom(j.Tenant, w.bounds.TenantOpen) && w.leavesRoom("", w.bounds.Open))
}

// leavesRoom reports whether more than an eighth of half the bound is free.
func (w *world) leavesRoom(owner tenant.ID, bound int) bool {
	half := (bound + 1) / 2
	open, err := w.store.CountOpen(context.Background(), owner, half)
	must(err)
	return bound == 0 || half-open > half/8
}

// checkWork is what must be true of jobs in the end: what each says it did was done, once, and nothing was left out.
func (w *world) checkWork() {
	type work struct{ job, delivery string }
	did, times := map[string]int{}, map[work]int{}
	rows := w.store.Rows()
	for _, row := range rows {
		changes, err := w.store.DeliveryChanges(context.Background(), row.Tenant, row.ID)
		must(err)
		for i, c := range changes {
			c, ok := c.(delivery.RetryRequested)
			by := w.journal.resent[lease{row.ID, int64(i) + 1}]
			if !ok || by.job == "" || !by.at.Equal(c.At) {
				continue
			}
			did[by.job]++
			if times[work{by.job, row.ID}]++; times[work{by.job, row.ID}] > 1 {
				w.violate("J2", "%s made %s due twice", by.job, row.ID)
			}
		}
	}
	for _, row := range rows {
		by, is := w.journal.rendered[row.ID]
		if !is {
			continue
		}
		did[by.job]++
		if times[work{by.job, row.EventID}]++; times[work{by.job, row.EventID}] > 1 {
			w.violate("J2", "%s rendered %s anew twice", by.job, row.EventID)
		}
	}
	w.checkMissing()
	for _, j := range w.store.AllJobs() {
		w.counts.Resent += j.Done
		if w.goesOn(j) {
			w.violate("J1", "%s has not ended: %+v", j.ID, j)
		}
		if j.Done != did[j.ID] && (!w.purges || j.Done < did[j.ID]) {
			w.violate("J2", "%s says that it made %d deliveries due, and the log says %d", j.ID, j.Done, did[j.ID])
		}
		w.checkNothingLeftOut(j, rows, func(eventID string) bool { return times[work{j.ID, eventID}] > 0 })
	}
}

// checkNothingLeftOut holds a job that left nothing alone against what had ended before it began and is as it was. A replay
// is about an event's newest delivery alone.
func (w *world) checkNothingLeftOut(j job.Job, rows []memory.Row, renders func(eventID string) bool) {
	if w.clocks || j.Status != job.Succeeded || len(j.Skipped)+len(j.Failed) > 0 || w.purges && j.Kind == job.Replay {
		return // or its events' newest deliveries may be gone
	}
	newest := map[string]string{}
	for _, row := range rows {
		if j.Kind == job.Replay && row.Tenant == j.Tenant && row.SubscriptionID == j.Filter.SubscriptionID && row.ID <= j.UpTo() {
			newest[row.EventID] = max(newest[row.EventID], row.ID)
		}
	}
	for _, row := range rows {
		concerned := row.Tenant == j.Tenant && row.ID <= j.UpTo() && row.UpdatedAt.Before(j.CreatedAt) && j.Filter.Matches(row.Delivery)
		switch {
		case !concerned || j.Kind == job.Replay && newest[row.EventID] != row.ID:
		case j.Mode == job.Original || !renders(row.EventID):
			w.violate("J3", "%s left out %s, which is %s since %s", j.ID, row.ID, row.Status, row.UpdatedAt.Sub(epoch))
		}
	}
}

// Of jobs.

func (s *session) CreateJob(ctx context.Context, j job.Job, maxOpen int) error {
	return do(ctx, s, "CreateJob", func(ctx context.Context) error { return s.Store.CreateJob(ctx, j, maxOpen) })
}

func (s *session) Job(ctx context.Context, owner tenant.ID, id string) (job.Job, error) {
	return read(ctx, s, "Job", func(ctx context.Context) (job.Job, error) { return s.Store.Job(ctx, owner, id) })
}

func (s *session) NextJob(ctx context.Context, now time.Time) (j job.Job, found bool, turn time.Time, err error) {
	if err = s.enter(ctx, "NextJob"); err != nil {
		return j, false, turn, err
	}
	j, found, turn, err = s.Store.NextJob(ctx, now)
	s.p.working = j.ID
	return j, found, turn, err
}

func (s *session) SaveJob(ctx context.Context, j job.Job, turn time.Time) error {
	return do(ctx, s, "SaveJob", func(ctx context.Context) error { return s.Store.SaveJob(ctx, j, turn) })
}

func (s *session) WalkDeliveries(ctx context.Context, walk jobs.Walk) ([]delivery.Delivery, error) {
	return read(ctx, s, "WalkDeliveries", func(ctx context.Context) ([]delivery.Delivery, error) { return s.Store.WalkDeliveries(ctx, walk) })
}

func (s *session) EventBodies(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error) {
	return read(ctx, s, "EventBodies", func(ctx context.Context) (map[string][]fanout.Body, error) {
		return s.Store.EventBodies(ctx, owner, eventIDs)
	})
}

func (s *session) NewestDeliveries(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error) {
	return read(ctx, s, "NewestDeliveries", func(ctx context.Context) (map[string]string, error) {
		return s.Store.NewestDeliveries(ctx, lane, eventIDs, upTo, until)
	})
}

func (s *session) Deliveries(ctx context.Context, filter queries.DeliveryFilter) ([]delivery.Delivery, error) {
	return read(ctx, s, "Deliveries", func(ctx context.Context) ([]delivery.Delivery, error) { return s.Store.Deliveries(ctx, filter) })
}
