package jobs_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// bounded is a world with a job of so many dead letters under limits.
func bounded(t *testing.T, limits jobs.Limits, dead int) *world {
	w := newWorld(t)
	w.worker.Limits, w.open, w.inTurn = limits, map[tenant.ID]int{}, true
	for range dead {
		w.dead(event.VisitReportApproved)
	}
	w.begin(job.Retry, job.Original)
	return w
}

// step takes one, and returns when the next is wanted, from then on.
func (w *world) step() time.Duration {
	w.Helper()
	next, err := w.worker.Step(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return next.Sub(start.Add(w.later))
}

// rests wants a step to make nothing due, and the job to have its next turn after a while.
func (w *world) rests(pause time.Duration) {
	w.Helper()
	before := len(w.saved)
	w.step()
	if len(w.saved) != before || w.job.Reason != job.Room || !w.job.Open() || !w.turn.Equal(start.Add(w.later+pause)) {
		w.Errorf("%d were sent again, and the job waits for %s: %+v", len(w.saved)-before, w.turn.Sub(start.Add(w.later)), w.job)
	}
}

func TestJobsLeaveHalfOfTheRoomToEvents(t *testing.T) {
	for name, c := range map[string]struct {
		limits jobs.Limits
		owner  tenant.ID
		full   int // this many open deliveries are too many, and one less is not
	}{
		"of the tenant": {jobs.Limits{TenantOpen: 32, Open: 1000}, lane.Tenant, 14}, // an eighth of the half would not do for long
		"of all":        {jobs.Limits{TenantOpen: 1000, Open: 32}, "", 14},
		"of all alone":  {jobs.Limits{Open: 32}, "", 14},
		"of three":      {jobs.Limits{TenantOpen: 3}, lane.Tenant, 2},
		"of one":        {jobs.Limits{TenantOpen: 1}, lane.Tenant, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := bounded(t, c.limits, 3)
			w.open[c.owner] = c.full
			for range 3 {
				w.rests(5 * time.Second)
				if next := w.step(); next != 5*time.Second {
					t.Errorf("looks again after %s", next)
				}
				w.later += 5 * time.Second
			}
			w.open[c.owner] = c.full - 1
			w.work()
			w.ended(job.Succeeded, 3, nil, nil)
			if w.job.Reason != "" {
				t.Errorf("done, and says %q", w.job.Reason)
			}
		})
	}
}

func TestWhatAReplayBeginsAnewNeedsRoom(t *testing.T) {
	for mode, begin := range map[job.Mode]func(w *world){
		job.Missing: func(w *world) {
			w.emitted(event.TargetImported, start)
			w.missing()
		},
		job.Rerender: func(w *world) { // also of what is unfinished itself
			w.dead(event.TargetImported)
			w.deliveries[0].Status, w.filter.Statuses = delivery.StatusRetrying, []delivery.Status{delivery.StatusRetrying}
			w.begin(job.Replay, job.Rerender)
		},
	} {
		t.Run(string(mode), func(t *testing.T) {
			w := bounded(t, jobs.Limits{TenantOpen: 10}, 0)
			begin(w)
			w.open[lane.Tenant] = 5
			w.rests(5 * time.Second)
			if len(w.scheduled) > 0 {
				t.Errorf("%d were begun", len(w.scheduled))
			}
			w.open[lane.Tenant], w.later = 0, 5*time.Second
			w.work()
			w.ended(job.Succeeded, 1, nil, nil)
		})
	}
}

// A receiver is back, and its backlog is as long as it may be: a bulk retry is what shortens it.
func TestWhatIsUnfinishedAnywayNeedsNoRoom(t *testing.T) {
	w := bounded(t, jobs.Limits{TenantOpen: 10, Open: 10}, 5)
	w.open[lane.Tenant], w.open[""] = 10, 10
	for i := range 4 {
		w.deliveries[i].Status, w.deliveries[i].DueAt = delivery.StatusRetrying, start.Add(time.Minute)
	}
	w.job.Filter.Statuses = []delivery.Status{delivery.StatusRetrying, delivery.StatusDeadLetter}
	w.step()
	w.step()
	if w.job.Done != 4 || len(w.counted) > 0 {
		t.Errorf("after two steps: %+v, counted %q", w.job, w.counted)
	}
	w.rests(5 * time.Second) // at the dead letter
}

func TestWithoutABoundNothingIsCounted(t *testing.T) {
	w := bounded(t, jobs.Limits{}, 3)
	w.work()
	if len(w.counted) > 0 {
		t.Errorf("counted %q", w.counted)
	}
}

// Of 80 that are free, an eighth may be taken before they are counted again: five steps of two.
func TestACountIsGoodForPartOfWhatItFoundFree(t *testing.T) {
	for name, limits := range map[string]jobs.Limits{"the tenant's": {TenantOpen: 160}, "of all": {Open: 160}} {
		w := bounded(t, limits, 15)
		for step, want := range []int{1, 1, 1, 1, 1, 1, 2, 2, 2, 2} {
			w.step()
			if len(w.counted) != want {
				t.Errorf("%s, step %d: counted %d times, not %d", name, step+1, len(w.counted), want)
			}
		}
		w.ended(job.Succeeded, 15, nil, nil)
	}
}

func TestACountIsGoodForTenSeconds(t *testing.T) {
	w := bounded(t, jobs.Limits{TenantOpen: 1000}, 15)
	w.inTurn = false
	for step, c := range []struct {
		later   time.Duration
		counted int
		done    int
	}{{0, 1, 0}, {0, 1, 2}, {10 * time.Second, 1, 4}, {11 * time.Second, 2, 4}, {11 * time.Second, 2, 6}, {5 * time.Second, 3, 6}} { // the clock was set back
		w.later = c.later
		w.step()
		if len(w.counted) != c.counted || w.job.Done != c.done {
			t.Errorf("step %d: counted %d times and did %d, not %d and %d", step+1, len(w.counted), w.job.Done, c.counted, c.done)
		}
	}
}

// What takes long to count is not counted often.
func TestAJobWithoutRoomWaitsByWhatACountTakes(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{time.Millisecond: 5 * time.Second, 200 * time.Millisecond: 10 * time.Second, 5 * time.Second: time.Minute} {
		w := bounded(t, jobs.Limits{TenantOpen: 10}, 3)
		w.open[lane.Tenant] = 5
		w.counts = func() { w.later += took }
		w.rests(want)
	}
}

// Otherwise the first would be too old each time that the second is there.
func TestCountsThatTakeLongAreGoodForAStep(t *testing.T) {
	w := bounded(t, jobs.Limits{TenantOpen: 100, Open: 100}, 1)
	w.counts = func() { w.later += time.Minute }
	w.work()
	w.ended(job.Succeeded, 1, nil, nil)
	if len(w.counted) != 2 {
		t.Errorf("counted %q", w.counted)
	}
}

func TestEachTenantHasRoomOfItsOwn(t *testing.T) {
	w := bounded(t, jobs.Limits{TenantOpen: 10}, 6)
	w.inTurn = false
	for i := range 4 {
		w.deliveries[i].Tenant = "globex"
	}
	w.job.Tenant, w.open[lane.Tenant] = "globex", 5
	w.step()
	w.step()
	if w.job.Done != 2 {
		t.Errorf("globex has room: %+v", w.job)
	}
	w.job.Tenant = lane.Tenant
	w.rests(5 * time.Second)
}

func TestAJobThatEndsWhileRoomIsCountedStaysAsItIs(t *testing.T) {
	w := bounded(t, jobs.Limits{TenantOpen: 10}, 3)
	w.open[lane.Tenant] = 5
	w.counts = func() {
		if err := w.job.Cancel(start); err != nil {
			t.Fatal(err)
		}
	}
	w.step()
	if w.job.Status != job.Cancelled || w.job.Reason != "" {
		t.Errorf("%+v", w.job)
	}
}

func TestRoomThatCannotBeCountedIsTrouble(t *testing.T) {
	w := bounded(t, jobs.Limits{TenantOpen: 10}, 3)
	w.away = "CountOpen"
	if _, err := w.worker.Step(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("while counting: got %v", err)
	}
	w.away, w.failSave, w.open[lane.Tenant] = "", errAway, 5
	if _, err := w.worker.Step(t.Context()); !errors.Is(err, errAway) {
		t.Errorf("while saving: got %v", err)
	}
	if w.job.Stumbles > 0 {
		t.Errorf("the job is blamed: %+v", w.job)
	}
}
