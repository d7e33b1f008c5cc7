package jobs_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// emitted adds an event without a delivery, which fan-out is done with.
func (w *world) emitted(t event.Type, at time.Time) *queries.Event {
	e := event.Sample(t, lane.Tenant)
	e.ID = w.newID("evt_")
	w.events[e.ID] = intake.Accepted{Event: e, At: at}
	w.fannedOut++
	w.accepted = append(w.accepted, queries.Event{ID: e.ID, Type: t, Tenant: lane.Tenant, AcceptedAt: at, Sequence: w.fannedOut})
	return &w.accepted[len(w.accepted)-1]
}

// missing begins a job that has no statuses.
func (w *world) missing() job.Job {
	w.Helper()
	w.filter.Statuses = nil
	return w.begin(job.Replay, job.Missing)
}

func (w *world) AcceptedEvents(_ context.Context, f queries.EventFilter) ([]queries.Event, error) {
	if len(w.accepted) == 0 {
		return nil, w.reach("AcceptedEvents")
	}
	return w.accepted[len(w.accepted)-f.Limit:], w.reach("AcceptedEvents")
}

func (w *world) FannedOut(_ context.Context, e queries.Event) (bool, error) {
	return e.Sequence <= w.fannedOut, w.reach("FannedOut")
}

func (w *world) WalkEvents(_ context.Context, walk jobs.EventWalk) (found []queries.Event, err error) {
	w.walks = append(w.walks, walk)
	for _, e := range w.accepted {
		if e.Sequence > walk.After && e.Sequence <= min(walk.UpTo, w.fannedOut) && len(found) < walk.Limit {
			found = append(found, e)
		}
	}
	return found, w.reach("WalkEvents")
}

// sent is the events of the deliveries that were begun.
func (w *world) sent() (ids []string) {
	for _, s := range w.scheduled {
		ids = append(ids, s.Delivery.EventID)
	}
	return ids
}

func TestAReplayBeginsWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	w.wants = subscription.Filter{"visit_report.*"}
	first := w.emitted(event.VisitReportApproved, start.Add(-5*time.Hour)).ID
	w.emitted(event.TargetImported, start.Add(-5*time.Hour)) // not matched
	has := w.emitted(event.VisitReportApproved, start.Add(-4*time.Hour)).ID
	second := w.emitted(event.VisitReportRejected, start.Add(-3*time.Hour)).ID
	w.deliveries = append(w.deliveries, delivery.Delivery{ID: w.newID("dlv_"), Tenant: lane.Tenant, EventID: has, SubscriptionID: lane.SubscriptionID, Status: delivery.StatusSucceeded})
	w.missing()
	w.emitted(event.VisitReportApproved, start) // accepted after the job was asked for
	w.work()
	w.ended(job.Succeeded, 2, nil, nil)
	if got := w.sent(); len(got) != 2 || got[0] != first || got[1] != second {
		t.Errorf("sent %v, want %s and %s", got, first, second)
	}
	for _, s := range w.scheduled {
		if d := s.Delivery; d.SubscriptionVersion != 3 || !d.DueAt.Equal(start) || d.Status != delivery.StatusPending || !reconciliation.IsOfReplay(s.CountedAt()) {
			t.Errorf("it began %+v, counted at %s", d, s.CountedAt())
		}
	}
	if w.steps != 3 { // two events at once, and a look that finds the end
		t.Errorf("in %d steps", w.steps)
	}
	w.missing()
	w.work()
	w.ended(job.Succeeded, 1, nil, nil) // what came since
}

func TestWhatIsMissingInARange(t *testing.T) {
	w := newWorld(t)
	since, until := start.Add(-4*time.Hour), start.Add(-2*time.Hour)
	w.emitted(event.VisitReportApproved, since.Add(-1))
	first := w.emitted(event.VisitReportApproved, since).ID
	w.emitted(event.TargetImported, since)
	second := w.emitted(event.VisitReportRejected, until.Add(-1)).ID
	w.emitted(event.VisitReportApproved, until)
	w.filter.Since, w.filter.Until, w.filter.EventTypes = since, until, subscription.Filter{"visit_report.*"}
	w.missing()
	w.work()
	w.ended(job.Succeeded, 2, nil, nil)
	if got := w.sent(); len(got) != 2 || got[0] != first || got[1] != second {
		t.Errorf("sent %v, want %s and %s", got, first, second)
	}
	if got := w.walks[0]; !got.Since.Equal(since) || !got.Until.Equal(until) {
		t.Errorf("it looked from %s until %s", got.Since, got.Until)
	}
}

func TestWhatIsMissingAndLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		spoil   func(w *world, e *queries.Event)
		skipped string
		failed  string
	}{
		"set aside": {func(_ *world, e *queries.Event) { e.SetAside = &fanout.SetAside{} }, "the event was set aside, and waits for a retry of its own", ""},
		"gated":     {func(w *world, _ *queries.Event) { w.billing = false }, "the tenant does not have the feature billing_webhooks", ""},
		"paused":    {func(w *world, _ *queries.Event) { w.status = subscription.StatusPaused }, "the subscription is paused", ""},
		"old":       {func(w *world, _ *queries.Event) { w.service.Kept = time.Minute }, "the event is so old that its delivery may have been deleted", ""},
		"damaged": {func(w *world, e *queries.Event) {
			w.events[e.ID] = intake.Accepted{Event: event.Event{ID: e.ID, TenantID: lane.Tenant}, Unreadable: errors.New("damaged")}
		}, "", "the event's stored content is damaged"},
		"gone": {func(w *world, e *queries.Event) { delete(w.events, e.ID) }, "", "the event is no longer kept"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			e := w.emitted(event.BillingEventSent, start.Add(-time.Minute))
			w.missing()
			c.spoil(w, e)
			w.work()
			count := func(reason string) map[string]int {
				if reason == "" {
					return nil
				}
				return map[string]int{reason: 1}
			}
			w.ended(job.Succeeded, 0, count(c.skipped), count(c.failed))
			if len(w.scheduled) != 0 {
				t.Errorf("sent %v", w.sent())
			}
		})
	}
}

// Fan-out made nothing for a subscription that was not there yet, so nothing of it can have been deleted.
func TestWhatIsOlderThanTheSubscriptionIsMissingHoweverOld(t *testing.T) {
	w := newWorld(t)
	w.service.Kept = time.Minute
	w.emitted(event.VisitReportApproved, start.Add(-time.Hour-1))
	w.emitted(event.VisitReportApproved, start.Add(-time.Hour))
	w.missing()
	w.work()
	w.ended(job.Succeeded, 1, map[string]int{"the event is so old that its delivery may have been deleted": 1}, nil)
}

// What fan-out is not done with may still get its delivery, and would have two.
func TestAReplayOfWhatIsMissingWaitsForFanOut(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.emitted(event.VisitReportApproved, start)
	}
	w.fannedOut = 1
	w.missing()
	for range 3 {
		if _, err := w.worker.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if w.job.Done != 1 || !w.job.Open() || !strings.Contains(w.job.Reason, "fan-out") || !w.turn.After(start) {
		t.Errorf("done %d, %s, its turn is %s: %s", w.job.Done, w.job.Status, w.turn, w.job.Reason)
	}
	made := w.accepted[1].ID
	w.deliveries = append(w.deliveries, delivery.Delivery{ID: w.newID("dlv_"), Tenant: lane.Tenant, EventID: made, SubscriptionID: lane.SubscriptionID, Status: delivery.StatusPending})
	w.fannedOut = 3
	w.work()
	w.ended(job.Succeeded, 2, nil, nil)
	if got := w.sent(); len(got) != 2 || got[1] != w.accepted[2].ID {
		t.Errorf("sent %v", got)
	}
}

// faster is a store in which another process has begun a delivery of an event when this one's turn to do so comes.
type faster struct {
	*world
	event string
}

func (f faster) EventBodies(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error) {
	f.deliveries = append(f.deliveries, delivery.Delivery{ID: f.newID("dlv_"), Tenant: lane.Tenant, EventID: f.event, SubscriptionID: lane.SubscriptionID, Status: delivery.StatusPending})
	return f.world.EventBodies(ctx, owner, eventIDs)
}

func TestWhatAnotherJobHasBegunIsNotMissing(t *testing.T) {
	w := newWorld(t)
	taken, left := w.emitted(event.VisitReportApproved, start).ID, w.emitted(event.VisitReportApproved, start).ID
	w.worker = jobs.NewWorker(w.service, faster{w, taken})
	w.missing()
	w.work()
	w.ended(job.Succeeded, 1, nil, nil)
	if got := w.sent(); len(got) != 1 || got[0] != left {
		t.Errorf("sent %v, want %s", got, left)
	}
}

func TestADryRunOfWhatIsMissing(t *testing.T) {
	w := newWorld(t)
	for range 5 {
		w.emitted(event.VisitReportApproved, start)
	}
	w.filter.Statuses = nil
	for fannedOut, want := range map[int64]int{5: 5, 3: 3, 0: 0} { // the others may get theirs from fan-out
		w.fannedOut = fannedOut
		j, err := w.service.DryRun(t.Context(), w.request(job.Replay, job.Missing))
		if err != nil || j.Status != job.Succeeded || j.Done != want || len(w.scheduled) != 0 {
			t.Errorf("up to %d: %+v, %v", fannedOut, j, err)
		}
	}
}

func TestNothingIsMissingWithoutAnEvent(t *testing.T) {
	w := newWorld(t)
	w.missing()
	w.work()
	w.ended(job.Succeeded, 0, nil, nil)
}

func TestAReplayOfWhatIsMissingGoesOnWhereACallFailed(t *testing.T) {
	for _, call := range []string{"FannedOut", "WalkEvents", "NewestDeliveries", "LaneStates", "Enabled", "LoadSubscription", "EventBodies", "Events", "Resolve", "Schedule"} {
		w := newWorld(t)
		for range 3 {
			w.emitted(event.BillingEventSent, start)
		}
		w.missing()
		if _, err := w.worker.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		before, scheduled := w.job, len(w.scheduled)
		w.away = call
		if _, err := w.worker.Step(t.Context()); !errors.Is(err, errAway) {
			t.Errorf("%s: the step gave %v", call, err)
		}
		if w.job.AfterEvent != before.AfterEvent || w.job.Found() != before.Found() || !w.job.Open() || len(w.scheduled) != scheduled {
			t.Errorf("%s: %+v became %+v, and %d deliveries began", call, before, w.job, len(w.scheduled)-scheduled)
		}
		w.away = ""
		w.work()
		w.ended(job.Succeeded, 3, nil, nil)
	}
	w := newWorld(t)
	w.away = "AcceptedEvents"
	if _, err := w.service.Begin(t.Context(), w.request(job.Replay, job.Missing)); !errors.Is(err, errAway) {
		t.Errorf("begun without a reach: %v", err)
	}
}
