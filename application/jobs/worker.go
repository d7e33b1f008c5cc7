package jobs

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// lookAgain is how soon a worker asks again for jobs that it cannot work on now.
const lookAgain = time.Second

// Worker works on the jobs in turns, one step of one job at a time. What it makes due goes through the ordinary lanes, with the
// maxInFlight, circuits and order of any delivery.
type Worker struct {
	// Begun hears of deliveries that a replay has begun, once that is committed; nil for nobody.
	Begun func(ctx context.Context, deliveries int)
	// Limits are what jobs leave room within.
	Limits Limits

	service *Service
	render  RenderStore
	wake    loop.Signal
	rooms   map[tenant.ID]room // only the step uses it
}

// NewWorker makes a Worker.
func NewWorker(service *Service, render RenderStore) *Worker {
	return &Worker{service: service, render: render, wake: loop.NewSignal(), rooms: map[tenant.ID]room{}}
}

// Wake makes the worker look for jobs.
func (w *Worker) Wake() { w.wake.Send() }

// Loop is the worker's step.
func (w *Worker) Loop() loop.Loop { return loop.Loop{Name: "jobs", Step: w.Step, Wake: w.wake} }

// Step takes one job one step further. It is woken by each change of the queue, so it looks for a job before it takes the
// writer from others.
func (w *Worker) Step(ctx context.Context) (next time.Time, err error) {
	now := w.service.Now()
	_, found, turn, err := w.next(ctx, now)
	if err != nil {
		return time.Time{}, fmt.Errorf("look for a job: %w", err)
	}
	if !found {
		return later(turn, now), nil
	}
	return w.work(ctx)
}

// work does a step of whichever job has waited longest.
func (w *Worker) work(ctx context.Context) (next time.Time, err error) {
	var current, damaged job.Job
	var opened int
	err = w.service.Deliveries.InTx(ctx, func(ctx context.Context) error {
		current, damaged, opened = job.Job{}, job.Job{}, 0
		now := w.service.Now()
		j, found, turn, err := w.next(ctx, now)
		if err != nil || !found {
			next = later(turn, now)
			return err
		}
		current, next = j, now
		if !j.Open() {
			damaged = j
			return w.service.Store.SaveJob(ctx, j, time.Time{})
		}
		opened, err = w.advance(ctx, j, now)
		return err
	})
	switch {
	case err == nil && damaged.ID != "":
		return next, fmt.Errorf("job %s of %s was stopped: %s", damaged.ID, damaged.Tenant, damaged.Reason)
	case err == nil:
		w.opened(current.Tenant, opened)
		return next, nil
	case errors.Is(err, errNoRoom):
		return next, w.findRoom(ctx, current)
	case current.ID == "":
		return time.Time{}, fmt.Errorf("look for a job: %w", err)
	}
	return time.Time{}, errors.Join(fmt.Errorf("work on %s: %w", current.ID, err), w.stumble(ctx, current, problem.Is(err, problem.Unavailable)))
}

// next is the store's next job. A turn farther off than any pause was set by a clock that was ahead, and counts as due.
func (w *Worker) next(ctx context.Context, now time.Time) (j job.Job, found bool, turn time.Time, err error) {
	j, found, turn, err = w.service.Store.NextJob(ctx, now)
	if err != nil || found || turn.Sub(now) <= job.LongestPause {
		return j, found, turn, err
	}
	return w.service.Store.NextJob(ctx, turn)
}

// later is when to ask for the next turn. One that is due already is being taken by another process.
func later(turn, now time.Time) time.Time {
	if left := turn.Sub(now); turn.IsZero() || left > 0 && left <= job.LongestPause {
		return turn
	}
	return now.Add(lookAgain)
}

// advance does one step, and notes how far the job has come in the same transaction. It returns how many deliveries it has opened.
func (w *Worker) advance(ctx context.Context, j job.Job, now time.Time) (opened int, err error) {
	if j.Mode == job.Rerender && w.service.NewID("dlv_") <= j.UpTo() {
		// This process's clock is behind: what it made now would count as made before the job, and the job would find it.
		j.Await(job.TheClock, now)
		return 0, w.service.Store.SaveJob(ctx, j, now.Add(lookAgain))
	}
	next, err := w.service.pick(ctx, j, now)
	if err != nil {
		return 0, err
	}
	if next.waits {
		j.Await(job.FanOut, now)
		return 0, w.service.Store.SaveJob(ctx, j, now.Add(lookAgain))
	}
	if opened = next.opens(j.Mode); opened > 0 && len(w.uncounted(j.Tenant, now)) > 0 {
		return 0, errNoRoom
	}
	switch {
	case len(next.deliveries) == 0:
	case j.Mode == job.Rerender || j.Mode == job.Missing:
		err = w.rerender(ctx, j, &next, now)
	default:
		err = w.sendAgain(ctx, &next, now)
	}
	if err != nil {
		return 0, err
	}
	j.AfterEvent = next.afterEvent
	j.Advance(next.tally, next.after, now)
	if next.last {
		j.Finish(now)
	}
	return opened, w.service.Store.SaveJob(ctx, j, now)
}

// sendAgain makes deliveries due as a retry by hand does: the stored bytes under the same IDs.
func (w *Worker) sendAgain(ctx context.Context, next *picked, now time.Time) error {
	saved := make([]dispatch.Saved, 0, len(next.deliveries))
	for _, d := range next.deliveries {
		changes, err := d.RequestRetry(now)
		if err != nil {
			return err
		}
		s, err := dispatch.Move(d, changes)
		if err != nil {
			return err
		}
		saved = append(saved, s)
	}
	stale, err := w.service.Deliveries.Save(ctx, saved)
	if err != nil {
		return fmt.Errorf("make %d deliveries due: %w", len(saved), err)
	}
	next.settle(stale)
	return nil
}

// settle counts what was done. Stale ones are on their way already: another process was faster.
func (next *picked) settle(stale []int) {
	for place := range next.deliveries {
		if slices.Contains(stale, place) {
			next.tally.Skip("it was being attempted")
		} else {
			next.tally.Done++
		}
	}
}

// stumble notes that a step failed, so that one job that is stuck does not hold up the others. A database without room may do that and not the
// step itself.
func (w *Worker) stumble(ctx context.Context, current job.Job, kept bool) error {
	return w.service.Deliveries.InTx(ctx, func(ctx context.Context) error {
		j, err := w.service.Store.Job(ctx, current.Tenant, current.ID)
		if err != nil || !j.Open() {
			return err
		}
		turn := j.Stumble(w.service.Now(), kept)
		return w.service.Store.SaveJob(ctx, j, turn)
	})
}
