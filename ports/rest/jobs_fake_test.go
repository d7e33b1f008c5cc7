package rest_test

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func (f *fake) CreateJob(_ context.Context, j job.Job, maxOpen int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.jobs) >= maxOpen {
		return problem.New(problem.Conflict, "There are too many.")
	}
	f.jobs = append(f.jobs, j)
	return f.write()
}

func (f *fake) Job(_ context.Context, owner tenant.ID, id string) (job.Job, error) {
	for _, j := range f.jobs {
		if j.Tenant == owner && j.ID == id {
			return j, f.fail
		}
	}
	return job.Job{}, notFound()
}

func (f *fake) Jobs(_ context.Context, owner tenant.ID, before string, limit int) ([]job.Job, error) {
	var found []job.Job
	for _, j := range f.jobs {
		if j.Tenant == owner && (before == "" || j.ID < before) {
			found = append(found, j)
		}
	}
	slices.SortFunc(found, func(a, b job.Job) int { return strings.Compare(b.ID, a.ID) })
	return found[:min(limit, len(found))], f.fail
}

func (f *fake) NextJob(context.Context, time.Time) (job.Job, bool, time.Time, error) {
	return job.Job{}, false, time.Time{}, f.fail
}

func (f *fake) SaveJob(_ context.Context, j job.Job, _ time.Time) error {
	for i := range f.jobs {
		if f.jobs[i].ID == j.ID {
			f.jobs[i] = j
		}
	}
	return f.write()
}

func (f *fake) WalkDeliveries(_ context.Context, w jobs.Walk) (found []delivery.Delivery, err error) {
	for _, d := range f.deliveries {
		if d.Tenant == w.Tenant && d.ID > w.After && d.ID <= w.UpTo && len(found) < w.Limit {
			found = append(found, d)
		}
	}
	return found, f.fail
}

func (f *fake) WalkEvents(_ context.Context, w jobs.EventWalk) ([]queries.Event, error) {
	found := slices.DeleteFunc(slices.Clone(f.accepted), func(e queries.Event) bool {
		return e.Tenant != w.Tenant || e.Sequence <= w.After || e.Sequence > w.UpTo
	})
	return found[:min(w.Limit, len(found))], f.fail
}

func (f *fake) LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return f.CurrentSubscription(ctx, lane)
}

func (f *fake) CountOpen(context.Context, tenant.ID, int) (int, error) { return 0, f.fail }

func (f *fake) NewestDeliveries(_ context.Context, _ dispatch.Lane, _ []string, upTo string, _ time.Time) (map[string]string, error) {
	newest := map[string]string{}
	for _, d := range f.deliveries {
		if d.ID <= upTo {
			newest[d.EventID] = d.ID
		}
	}
	return newest, f.fail
}

func (f *fake) LaneStates(_ context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]fanout.LaneState, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	states := map[dispatch.Lane]fanout.LaneState{}
	for _, lane := range lanes {
		if s, ok := f.subscriptions[lane]; ok {
			states[lane] = fanout.LaneState{Status: s.Status, Version: s.Version}
		}
	}
	return states, f.fail
}
