package delivery_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
)

type (
	changes = []delivery.Change
	command = func(delivery.Delivery) ([]delivery.Change, error)
)

var start = time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)

// at is a moment so long after the start.
func at(after time.Duration) time.Time { return start.Add(after) }

// short is a schedule of two delays: three attempts.
var short = []time.Duration{time.Minute, time.Hour}

func scheduled() delivery.Scheduled {
	return delivery.Scheduled{
		At: start, ID: "dlv_1", Tenant: "tenant-123", EventID: "evt_1", EventType: "visit_report.approved",
		SubscriptionID: "sub_1", SubscriptionVersion: 3, BodyNumber: 2, Warnings: []string{"customer 12 is not known"},
	}
}

var (
	took   = delivery.Outcome{Kind: delivery.KindSucceeded, Status: 204}
	failed = delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 500}
	gone   = delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 410}
)

func attempt(number int, o delivery.Outcome) delivery.Attempt {
	return delivery.Attempt{Number: number, Outcome: o}
}

// succeeded, retrying and dead are the changes that attempts of that number lead to.
func succeeded(number int, when time.Time) delivery.Change {
	return delivery.AttemptSucceeded{At: when, Attempt: attempt(number, took)}
}

func retrying(number int, when, next time.Time) delivery.Change {
	return delivery.AttemptFailed{At: when, Attempt: attempt(number, failed), NextAt: next}
}

func dead(number int, when time.Time) changes {
	return changes{
		delivery.AttemptFailed{At: when, Attempt: attempt(number, failed)},
		delivery.DeadLettered{At: when, Reason: delivery.ReasonExhausted},
	}
}

func fold(t *testing.T, given changes) delivery.Delivery {
	t.Helper()
	d, err := delivery.Fold(given)
	if err != nil {
		t.Fatalf("the given changes do not fold: %v", err)
	}
	return d
}

// scenario runs a command on what the given changes lead to. Nil then means a refusal
// with problem.Conflict; what is decided must also be accepted by Apply.
func scenario(t *testing.T, given changes, when command, then changes) {
	t.Helper()
	got, err := when(fold(t, given))
	if then == nil {
		if !problem.Is(err, problem.Conflict) || got != nil {
			t.Errorf("got %v and error %v, want a conflict", got, err)
		}
		return
	}
	if err != nil || !reflect.DeepEqual(got, then) {
		t.Errorf("got  %+v (error %v)\nwant %+v", got, err, then)
	}
	if _, err := delivery.Fold(append(append(changes{}, given...), got...)); err != nil {
		t.Errorf("Apply refuses what was decided: %v", err)
	}
}

func record(o delivery.Outcome, schedule []time.Duration, now time.Time) command {
	return func(d delivery.Delivery) ([]delivery.Change, error) { return d.Record(o, schedule, 0, now) }
}

func abandon(schedule []time.Duration, startedAt, now time.Time) command {
	return func(d delivery.Delivery) ([]delivery.Change, error) { return d.Abandon(schedule, startedAt, now) }
}

func park(now time.Time) command {
	return func(d delivery.Delivery) ([]delivery.Change, error) { return d.Park("paused", now) }
}

func release(now time.Time) command {
	return func(d delivery.Delivery) ([]delivery.Change, error) { return d.Release(now) }
}

func requestRetry(now time.Time) command {
	return func(d delivery.Delivery) ([]delivery.Change, error) { return d.RequestRetry(now) }
}

func cancel(now time.Time) command {
	return func(d delivery.Delivery) ([]delivery.Change, error) { return d.Cancel("deleted", now) }
}

// states is a way into every status that a stream can lead to.
func states() map[delivery.Status]changes {
	begun := scheduled()
	with := func(more ...delivery.Change) changes { return append(changes{begun}, more...) }
	return map[delivery.Status]changes{
		delivery.StatusPending:    with(),
		delivery.StatusRetrying:   with(retrying(1, at(0), at(time.Minute))),
		delivery.StatusParked:     with(delivery.Parked{At: at(0), Reason: "paused"}),
		delivery.StatusSucceeded:  with(succeeded(1, at(0))),
		delivery.StatusDeadLetter: with(dead(1, at(0))...),
		delivery.StatusCancelled:  with(delivery.Cancelled{At: at(0), Reason: "deleted"}),
	}
}
