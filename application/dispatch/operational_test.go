package dispatch_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// attempted hands in what came of attempts of new deliveries of the type, and takes a turn.
func (w *world) attempted(lane dispatch.Lane, of event.Type, outcomes ...delivery.Outcome) {
	w.Helper()
	for _, o := range outcomes {
		l := w.schedule(lane, incarnation)
		l.Delivery.EventType = of
		w.Reserve(lane, 100)
		w.Finish(l, o)
	}
	w.step()
}

func (w *world) toldTypes() (types []event.Type) {
	for _, e := range w.told {
		types = append(types, e.Type)
	}
	return types
}

func (w *world) wantTold(want ...event.Type) {
	w.Helper()
	if got := w.toldTypes(); !slices.Equal(got, want) {
		w.Errorf("told %v, want %v", got, want)
	}
}

func repeated(n int, o delivery.Outcome) []delivery.Outcome {
	return slices.Repeat([]delivery.Outcome{o}, n)
}

func TestTenFailuresInARowAreTold(t *testing.T) {
	w := newWorld(t, 50)
	lane, other := w.subscribe("sub_1", 50), w.subscribe("sub_2", 50)
	w.attempted(lane, event.VisitReportApproved, repeated(9, answered(500))...)
	w.attempted(other, event.VisitReportApproved, repeated(9, answered(500))...)
	w.attempted(other, event.VisitReportApproved, succeeded())
	w.attempted(other, event.VisitReportApproved, repeated(9, answered(500))...)
	w.wantTold()
	w.now = start.Add(time.Minute)
	w.attempted(lane, event.VisitReportApproved, repeated(3, answered(500))...)
	w.attempted(lane, event.VisitReportApproved, repeated(20, answered(500))...)
	w.wantTold(event.SubscriptionFailing)
	e := w.told[0]
	if e.TenantID != "acme" || !e.OccurredAt.Equal(w.now) || e.Subscription.ID != "sub_1" || *e.Subscription.FailuresInARow != 12 || !e.Subscription.FailingSince.Equal(start) {
		t.Errorf("told %+v, %+v", e, e.Subscription)
	}
	w.attempted(lane, event.VisitReportApproved, succeeded())
	w.now = start.Add(time.Hour)
	w.attempted(lane, event.VisitReportApproved, repeated(10, answered(500))...)
	w.wantTold(event.SubscriptionFailing, event.SubscriptionFailing)
}

func TestADeadLetterIsTold(t *testing.T) {
	w := newWorld(t, 50)
	lane := w.subscribe("sub_1", 50)
	s := w.lane[lane]
	s.RetrySchedule = nil
	w.lane[lane] = s
	w.attempted(lane, event.VisitReportApproved, answered(503), succeeded(), delivery.Outcome{Kind: delivery.KindTimeout, StartedAt: start})
	w.wantTold(event.DeliveryDeadLettered, event.DeliveryDeadLettered)
	answer, silence := w.told[0].Delivery, w.told[1].Delivery
	if answer.ID != "dlv_0001" || answer.Reason != delivery.ReasonExhausted || answer.AttemptCount != 1 || answer.LastOutcome != "http_status" ||
		*answer.LastResponseStatus != 503 || answer.Status != "dead_letter" || answer.EventType != event.VisitReportApproved {
		t.Errorf("told %+v", answer)
	}
	if silence.ID != "dlv_0003" || silence.LastOutcome != "timeout" || silence.LastResponseStatus != nil || w.told[0].ID == w.told[1].ID {
		t.Errorf("told %+v", silence)
	}
}

func TestADisabledSubscriptionIsTold(t *testing.T) {
	w := newWorld(t, 50)
	lane := w.subscribe("sub_1", 50)
	w.attempted(lane, event.VisitReportApproved, answered(410), answered(410))
	w.wantTold(event.SubscriptionDisabled, event.DeliveryDeadLettered, event.DeliveryDeadLettered)
	if e := w.told[0]; *e.Subscription.Reason != subscription.ReasonGone || e.Delivery != nil {
		t.Errorf("told %+v", e.Subscription)
	}
	w.attempted(lane, event.VisitReportApproved, answered(410)) // it was on its way
	w.wantTold(event.SubscriptionDisabled, event.DeliveryDeadLettered, event.DeliveryDeadLettered, event.DeliveryDeadLettered)
}

// The trouble of those who are told of trouble is not told: it could go on for ever.
func TestFailingOperationalEventsAreNotTold(t *testing.T) {
	w := newWorld(t, 50)
	lane := w.subscribe("sub_1", 50)
	w.attempted(lane, event.SubscriptionFailing, repeated(20, answered(500))...)
	w.attempted(lane, event.DeliveryDeadLettered, answered(410))
	w.wantTold()
	if w.disabled[lane] != subscription.ReasonGone {
		t.Error("the subscription was not disabled")
	}
	old := w.subscribe("sub_2", 50)
	w.attempted(old, event.SubscriptionFailing, answered(500))
	w.now = start.Add(subscription.FailingTooLong)
	w.attempted(old, event.SubscriptionFailing, answered(500))
	w.wantTold()
	mixed := w.subscribe("sub_3", 50)
	w.attempted(mixed, event.VisitReportApproved, answered(500))
	w.now = w.now.Add(subscription.FailingTooLong)
	w.attempted(mixed, event.SubscriptionFailing, answered(500))
	w.wantTold(event.SubscriptionDisabled)
}

// What is told commits with what it tells of: once, however often the turn is tried.
func TestWhatIsToldCommitsWithTheOutcome(t *testing.T) {
	w := newWorld(t, 50)
	lane := w.subscribe("sub_1", 50)
	for _, call := range []string{"commit", "AppendEvents", "Known", "Disable"} {
		w.fail[call] = errors.New("away")
		l := w.schedule(lane, incarnation)
		w.Reserve(lane, 50)
		w.Finish(l, answered(410))
		if _, err := w.Step(t.Context()); err == nil {
			t.Errorf("%s: no error", call)
		}
		w.fail = map[string]error{}
		w.wantTold()
	}
	w.step()
	w.wantTold(event.SubscriptionDisabled, event.DeliveryDeadLettered, event.DeliveryDeadLettered, event.DeliveryDeadLettered, event.DeliveryDeadLettered)
}

// Failures are handed in together some time after they ended, and what succeeded meanwhile before them: only those that ended after it are
// in a row.
func TestFailuresThatASuccessFollowedAreNotInARow(t *testing.T) {
	for name, c := range map[string]struct {
		before time.Duration // of the failures' ends before that of the success
		told   []event.Type
	}{
		"before it": {time.Millisecond, nil},
		"after it":  {-time.Millisecond, []event.Type{event.SubscriptionFailing}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, 50)
			lane := w.subscribe("sub_1", 50)
			take := func() dispatch.Leased {
				w.Reserve(lane, 50)
				return w.schedule(lane, incarnation)
			}
			success, failure := succeeded(), answered(500)
			success.Duration, failure.Duration = time.Second, time.Second-c.before
			well := take()
			var results []dispatch.Result
			for range subscription.FailuresUntilFailing {
				results = append(results, dispatch.Result{Leased: take(), Outcome: failure})
			}
			w.Finish(well, success)
			w.step()
			w.FinishTogether(results)
			w.step()
			w.wantTold(c.told...)
		})
	}
}
