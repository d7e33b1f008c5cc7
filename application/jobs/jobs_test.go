package jobs_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func TestARetryGoesThroughAllInSteps(t *testing.T) {
	w := newWorld(t)
	w.filter.SubscriptionID = "" // of all subscriptions
	for range 5 {
		w.dead(event.VisitReportApproved)
	}
	w.begin(job.Retry, job.Original)
	w.work()
	w.ended(job.Succeeded, 5, nil, nil)
	if len(w.saved) != 5 || w.steps != 3 { // two at once
		t.Errorf("%d made due in %d steps", len(w.saved), w.steps)
	}
	for _, s := range w.saved {
		if s.After.Status != delivery.StatusRetrying && s.After.Status != delivery.StatusPending || !s.After.DueAt.Equal(start) {
			t.Errorf("%s is %s, due at %s", s.After.ID, s.After.Status, s.After.DueAt)
		}
	}
}

func TestWhatIsLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world, d delivery.Delivery)
		want  string
	}{
		"paused":   {func(w *world, _ delivery.Delivery) { w.status = subscription.StatusPaused }, "the subscription is paused"},
		"disabled": {func(w *world, _ delivery.Delivery) { w.status = subscription.StatusDisabled }, "the subscription is disabled"},
		"deleted":  {func(w *world, _ delivery.Delivery) { w.status = "" }, "the subscription was deleted"},
		"gated":    {func(w *world, _ delivery.Delivery) { w.billing = false }, "the tenant does not have the feature billing_webhooks"},
		"spent": {func(w *world, _ delivery.Delivery) { w.deliveries[0].Attempts = delivery.MaxAttempts },
			"it has been attempted 1000 times or more"},
		"stale": {func(w *world, _ delivery.Delivery) { w.stale = []int{0} }, "it was being attempted"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			d := w.dead(event.BillingEventSent)
			w.begin(job.Retry, job.Original)
			c.spoil(w, d)
			w.work()
			w.ended(job.Succeeded, 0, map[string]int{c.want: 1}, nil)
		})
	}
}

// What has been sent too often under its ID is sent under a new one.
func TestARerenderBeginsAnewWhatIsSpent(t *testing.T) {
	w := newWorld(t)
	w.dead(event.TargetImported)
	w.deliveries[0].Attempts = delivery.MaxAttempts
	w.begin(job.Replay, job.Rerender)
	w.work()
	w.ended(job.Succeeded, 1, nil, nil)
}

// An event that was replayed before has several deliveries, and is sent once all the same.
func TestAReplayTakesEachEventsNewest(t *testing.T) {
	w := newWorld(t)
	first := w.dead(event.VisitReportApproved)
	second := w.dead(event.VisitReportApproved)
	w.newest = map[string]string{first.EventID: "dlv_of_a_later_replay", second.EventID: second.ID}
	w.begin(job.Replay, job.Original)
	w.work()
	w.ended(job.Succeeded, 1, nil, nil)
	if len(w.saved) != 1 || w.saved[0].Before.ID != second.ID {
		t.Errorf("made due: %+v", w.saved)
	}
}

func TestRequestsThatNoJobCouldDo(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(w *world)
		want  problem.Code
	}{
		"sent anyway": {func(w *world) { w.filter.Statuses = []delivery.Status{delivery.StatusPending} }, problem.ValidationFailed},
		"paused":      {func(w *world) { w.status = subscription.StatusPaused }, problem.Conflict},
		"disabled":    {func(w *world) { w.status = subscription.StatusDisabled }, problem.Conflict},
		"nobody":      {func(w *world) { w.status = "" }, problem.NotFound},
	} {
		w := newWorld(t)
		c.spoil(w)
		if _, err := w.service.Begin(t.Context(), w.request(job.Replay, job.Original)); !problem.Is(err, c.want) || w.job.ID != "" {
			t.Errorf("%s: %v, kept %q", name, err, w.job.ID)
		}
	}
}

func TestADryRunCountsAndChangesNothing(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.dead(event.VisitReportApproved)
	}
	w.dead(event.BillingEventSent)
	w.billing = false
	j, err := w.service.DryRun(t.Context(), w.request(job.Retry, job.Original))
	if err != nil || j.Status != job.Succeeded || j.Done != 5 || j.Found() != 6 {
		t.Errorf("%+v, %v", j, err)
	}
	if w.job.ID != "" || len(w.saved) != 0 {
		t.Errorf("kept %q, saved %d", w.job.ID, len(w.saved))
	}
}

func TestARerenderBeginsNewDeliveries(t *testing.T) {
	w := newWorld(t)
	kept, gone, damaged := w.dead(event.VisitReportApproved), w.dead(event.VisitReportApproved), w.dead(event.VisitReportApproved)
	delete(w.events, gone.EventID)
	w.events[damaged.EventID] = intake.Accepted{Event: event.Event{ID: damaged.EventID, TenantID: "acme"}, Unreadable: errors.New("damaged")}
	w.begin(job.Replay, job.Rerender)
	w.work()
	w.ended(job.Succeeded, 1, nil, map[string]int{"the event is no longer kept": 1, "the event's stored content is damaged": 1})
	if len(w.scheduled) != 1 || len(w.saved) != 0 {
		t.Fatalf("scheduled %d, saved %d", len(w.scheduled), len(w.saved))
	}
	d := w.scheduled[0].Delivery
	if d.EventID != kept.EventID || d.ID <= w.job.UpTo() || d.SubscriptionVersion != 3 || d.BodyNumber != 1 {
		t.Errorf("scheduled %+v", d)
	}
	w.begin(job.Replay, job.Rerender) // the same bytes come of it
	w.work()
	if len(w.scheduled) < 2 || w.scheduled[1].Delivery.BodyNumber != 1 || len(w.bodies[kept.EventID]) != 1 {
		t.Errorf("%d deliveries of %d bodies", len(w.scheduled), len(w.bodies[kept.EventID]))
	}
	w.bodies[kept.EventID][0].Number, w.bodies[kept.EventID][0].Unreadable = 4, errors.New("damaged")
	w.bodies[kept.EventID] = append(w.bodies[kept.EventID], fanout.Body{Number: 2, Bytes: []byte("other")})
	w.begin(job.Replay, job.Rerender) // no body that can be read is the same
	w.work()
	if d := w.scheduled[len(w.scheduled)-1].Delivery; d.BodyNumber != 5 || len(w.bodies[kept.EventID]) != 3 {
		t.Errorf("the body has number %d of %d", d.BodyNumber, len(w.bodies[kept.EventID]))
	}
}

// A store that is away looks like one that has nothing, and a job would pass over deliveries that it never read.
func TestAJobGoesOnWhereACallFailed(t *testing.T) {
	for _, call := range []string{"WalkDeliveries", "NewestDeliveries", "LaneStates", "Enabled", "LoadSubscription", "EventBodies", "Events", "Resolve", "Schedule"} {
		for _, of := range []event.Type{event.BillingEventSent, event.VisitReportApproved} { // the feature is asked for in two places
			w := newWorld(t)
			for range 3 {
				w.dead(of)
			}
			w.begin(job.Replay, job.Rerender)
			if _, err := w.worker.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
			before, scheduled := w.job, len(w.scheduled)
			w.away = call
			if _, err := w.worker.Step(t.Context()); !errors.Is(err, errAway) {
				t.Errorf("%s: the step gave %v", call, err)
			}
			if w.job.After != before.After || w.job.Done != before.Done || w.job.Found() != before.Found() || !w.job.Open() || len(w.scheduled) != scheduled {
				t.Errorf("%s: %+v became %+v, and %d deliveries began", call, before, w.job, len(w.scheduled)-scheduled)
			}
			w.away = ""
			w.work()
			w.ended(job.Succeeded, 3, nil, nil)
		}
	}
}

// Each external ID is of the subscription's own source system.
func TestARerenderLooksUpWhatItsSubscriptionShows(t *testing.T) {
	w := newWorld(t)
	e := w.events[w.dead(event.VisitReportApproved).EventID].Event
	w.begin(job.Replay, job.Rerender)
	w.work()
	want := []fanout.Lookup{{Tenant: lane.Tenant, SourceSystem: "sap", References: payload.References(e, payload.DefaultOptions())}}
	if !reflect.DeepEqual(w.lookups, want) {
		t.Errorf("looked up %+v, want %+v", w.lookups, want)
	}
}

// What counts deliveries that end would else know of more than ever began.
func TestWhatAReplayBeginsIsTold(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.dead(event.VisitReportApproved)
	}
	begun := 0
	w.worker.Begun = func(_ context.Context, n int) { begun += n }
	w.begin(job.Replay, job.Rerender)
	w.failSave = errors.New("away")
	if _, err := w.worker.Step(t.Context()); !errors.Is(err, w.failSave) || len(w.scheduled) == 0 || begun != 0 {
		t.Errorf("%v: %d were told of though their transaction was undone", err, begun)
	}
	w.failSave, w.scheduled = nil, nil
	w.work()
	if len(w.scheduled) == 0 || begun != len(w.scheduled) {
		t.Errorf("%d of %d were told of", begun, len(w.scheduled))
	}
}

// TestNothingIsDeletedThatIsBeingRendered: what is read first keeps retention from the events.
func TestNothingIsDeletedThatIsBeingRendered(t *testing.T) {
	w := newWorld(t)
	w.dead(event.VisitReportApproved)
	w.begin(job.Replay, job.Rerender)
	w.work()
	if !slices.Equal(w.read, []string{"bodies", "events"}) {
		t.Errorf("%v were read one after the other", w.read)
	}
}

// What a clock that is behind made would count as made before the job, and be found by it.
func TestAClockThatIsBehindWaits(t *testing.T) {
	w := newWorld(t)
	w.dead(event.VisitReportApproved)
	w.begin(job.Replay, job.Rerender)
	w.behind = true
	if _, err := w.worker.Step(t.Context()); err != nil || len(w.scheduled) != 0 || !w.turn.Equal(start.Add(time.Second)) || w.job.After != "" {
		t.Errorf("%v, rendered %d, next at %s", err, len(w.scheduled), w.turn)
	}
	w.behind = false
	w.work()
	w.ended(job.Succeeded, 1, nil, nil)
}

// A delivery that was made while a clock was ahead has an ID behind that of a job that is asked for later.
func TestAJobReachesWhatAClockThatWasAheadHasMade(t *testing.T) {
	for _, mode := range []job.Mode{job.Original, job.Rerender} {
		w := newWorld(t)
		w.made = 1000
		w.dead(event.VisitReportApproved)
		w.made = 0
		w.begin(job.Replay, mode)
		if mode == job.Rerender { // what it made now would be found by it
			if _, err := w.worker.Step(t.Context()); err != nil || w.job.Reason == "" || len(w.scheduled) != 0 || !w.turn.Equal(start.Add(time.Second)) {
				t.Errorf("%v, %+v, scheduled %d, next at %s", err, w.job, len(w.scheduled), w.turn)
			}
			w.made = 2000
		}
		w.work()
		w.ended(job.Succeeded, 1, nil, nil)
	}
}

func TestAStepThatFailsIsTriedAgain(t *testing.T) {
	w := newWorld(t)
	w.dead(event.VisitReportApproved)
	w.begin(job.Retry, job.Original)
	w.fail = errors.New("away")
	if _, err := w.worker.Step(t.Context()); !errors.Is(err, w.fail) {
		t.Errorf("got %v", err)
	}
	if w.job.Stumbles != 1 || w.job.After != "" || !w.job.Open() || !w.turn.After(start) {
		t.Errorf("%+v, next at %s", w.job, w.turn)
	}
	w.fail = nil
	w.work()
	w.ended(job.Succeeded, 1, nil, nil)
}

// A turn that is further off than any pause was set by a clock that was set back since.
func TestAJobGoesOnWhenTheClockIsSetBack(t *testing.T) {
	w := newWorld(t)
	w.dead(event.VisitReportApproved)
	w.begin(job.Retry, job.Original)
	w.inTurn, w.turn = true, start.Add(time.Hour)
	if _, err := w.worker.Step(t.Context()); err != nil || len(w.saved) != 1 || w.turn.After(start) {
		t.Errorf("%v, made %d due, next at %s", err, len(w.saved), w.turn)
	}
}

func TestADamagedJobIsStoppedAndTold(t *testing.T) {
	w := newWorld(t)
	w.begin(job.Retry, job.Original)
	w.damaged = true
	if _, err := w.worker.Step(t.Context()); err == nil {
		t.Error("nobody is told")
	}
	if w.job.Status != job.Failed || len(w.saved) != 0 {
		t.Errorf("%+v", w.job)
	}
}

func TestWithoutAJobTheWorkerWaits(t *testing.T) {
	for name, c := range map[string]struct{ turn, want time.Time }{
		"none":                         {},
		"one is paused":                {start.Add(time.Minute), start.Add(time.Minute)},
		"another's":                    {start, start.Add(time.Second)},
		"by a clock that was set back": {start.Add(time.Hour), start.Add(time.Second)},
	} {
		w := newWorld(t)
		w.turn = c.turn
		if next, err := w.worker.Step(t.Context()); err != nil || !next.Equal(c.want) {
			t.Errorf("%s: %v, %v", name, next, err)
		}
		if w.begun > 0 {
			t.Errorf("%s: took the writer to look", name)
		}
	}
}

func TestCancelling(t *testing.T) {
	w := newWorld(t)
	w.dead(event.VisitReportApproved)
	j := w.begin(job.Retry, job.Original)
	if _, err := w.service.Cancel(t.Context(), "other", j.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("another tenant's: %v", err)
	}
	if _, err := w.service.Cancel(t.Context(), "acme", j.ID); err != nil || w.job.Status != job.Cancelled {
		t.Errorf("%v, %+v", err, w.job)
	}
	if w.work(); len(w.saved) != 0 {
		t.Errorf("made due %d", len(w.saved))
	}
}

func (w *world) ended(status job.Status, done int, skipped, failed map[string]int) {
	w.Helper()
	if w.job.Status != status || w.job.Done != done || !maps.Equal(w.job.Skipped, skipped) || !maps.Equal(w.job.Failed, failed) {
		w.Errorf("%s with %+v, want %s with %d done, skipped %v, failed %v", w.job.Status, w.job.Tally, status, done, skipped, failed)
	}
}

// What the walk yields beside what the filter picks is left as it is, and a job comes past a stretch that has nothing else.
func TestAJobSendsNothingThatItsFilterDoesNotPick(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.dead(event.VisitReportApproved)
	}
	for i := range 4 {
		w.deliveries[i].Status = delivery.StatusSucceeded
	}
	w.begin(job.Retry, job.Original)
	w.work()
	w.ended(job.Succeeded, 1, nil, nil)
	if len(w.saved) != 1 || w.saved[0].Before.ID != w.deliveries[4].ID {
		t.Errorf("made due %+v", w.saved)
	}
}

// A dry run ends after a while, although it has found nothing.
func TestADryRunLooksAtABoundedNumber(t *testing.T) {
	w := newWorld(t)
	w.service.AtOnce = 50_000
	d := w.dead(event.VisitReportApproved)
	d.Status = delivery.StatusSucceeded
	w.deliveries = nil
	for i := range 150_001 {
		d.ID = fmt.Sprintf("dlv_%026d", i+1)
		w.deliveries = append(w.deliveries, d)
	}
	j, err := w.service.DryRun(t.Context(), w.request(job.Retry, job.Original))
	if err != nil || !j.Open() || j.After != w.deliveries[99_999].ID {
		t.Errorf("%v, %s after %s", err, j.Status, j.After)
	}
}

// asked is a store that notes which deliveries may count as the newest.
type asked struct {
	*world
	upTo  string
	until time.Time
}

func (a *asked) NewestDeliveries(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error) {
	a.upTo, a.until = upTo, until
	return a.world.NewestDeliveries(ctx, lane, eventIDs, upTo, until)
}

// What a replay makes itself, or was made after its range, is not the newest: the event would not be sent.
func TestAReplayLooksForTheNewestInItsRangeAlone(t *testing.T) {
	w := newWorld(t)
	w.filter.Until = start.Add(time.Hour)
	w.dead(event.VisitReportApproved)
	a := &asked{world: w}
	w.service.Deliveries = a
	j := w.begin(job.Replay, job.Rerender)
	w.work()
	if a.upTo != j.UpTo() || !a.until.Equal(w.filter.Until) || w.job.Done != 1 {
		t.Errorf("asked up to %s and %s; %+v", a.upTo, a.until, w.job)
	}
}

// An event that cannot be rendered counts as failed, once, and the others go on.
func TestAnEventThatCannotBeRenderedFailsAlone(t *testing.T) {
	w := newWorld(t)
	w.dead(event.VisitReportApproved)
	w.dead(event.VisitReportApproved)
	w.begin(job.Replay, job.Rerender)
	drawn := 0
	w.service.NewID = func(prefix string) string {
		if drawn++; drawn == 2 { // the first is drawn to compare the clocks
			panic("no more IDs")
		}
		return w.newID(prefix)
	}
	w.work()
	w.ended(job.Succeeded, 1, nil, map[string]int{"it could not be rendered": 1})
}

// cancelling is a store in which somebody cancels the job right after its step.
type cancelling struct{ *world }

func (c *cancelling) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	err := c.world.InTx(ctx, fn)
	if c.job.Open() {
		if err := c.job.Cancel(start); err != nil {
			c.Fatal(err)
		}
	}
	return err
}

// A disk that is full takes the note that a step failed long before it takes the step.
func TestAJobWaitsForADatabaseWithoutRoom(t *testing.T) {
	w := newWorld(t)
	w.dead(event.VisitReportApproved)
	w.begin(job.Retry, job.Original)
	w.fail = fmt.Errorf("save: %w", problem.New(problem.Unavailable, "The database has no room on its disk."))
	for range 30 {
		if _, err := w.worker.Step(t.Context()); !errors.Is(err, w.fail) {
			t.Fatalf("got %v", err)
		}
	}
	if !w.job.Open() || w.job.Reason == "" || w.turn.After(start.Add(job.LongestPause)) {
		t.Errorf("%+v, next at %s", w.job, w.turn)
	}
	w.fail = nil
	w.work()
	w.ended(job.Succeeded, 1, nil, nil)
}

// A job that was cancelled between its step and the note that the step failed stays cancelled.
func TestAStepThatFailsChangesNoJobThatHasEnded(t *testing.T) {
	w := newWorld(t)
	w.dead(event.VisitReportApproved)
	w.begin(job.Retry, job.Original)
	w.job.Stumbles = 9
	w.fail = errors.New("away")
	w.service.Deliveries = &cancelling{w}
	if _, err := w.worker.Step(t.Context()); !errors.Is(err, w.fail) {
		t.Errorf("got %v", err)
	}
	if w.job.Status != job.Cancelled || w.job.Stumbles != 9 {
		t.Errorf("%+v", w.job)
	}
}
