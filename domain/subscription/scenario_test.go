package subscription_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

type (
	changes = []subscription.Change
	command = func(subscription.Subscription) ([]subscription.Change, error)
)

var start = time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)

// at is a moment so long after the start.
func at(after time.Duration) time.Time { return start.Add(after) }

// settings is valid, with nothing left at its zero value.
func settings() subscription.Settings {
	return subscription.Settings{
		Name: "SAP", URL: "https://erp.example.com/hook", EventTypes: subscription.Filter{"visit_report.*", "target.imported"},
		SourceSystem:  "sap",
		Options:       payload.Options{CustomerContext: true, ContactDetails: true, SummaryPreview: true, BillingDetails: true},
		RetrySchedule: []time.Duration{time.Minute, time.Hour}, Timeout: 10 * time.Second, MaxInFlight: 16,
	}
}

func created() changes {
	return subscription.Create("sub_1", "tenant-123", settings(), "sec_1", start)
}

func given(more ...subscription.Change) changes { return append(created(), more...) }

func fold(t *testing.T, stream changes) subscription.Subscription {
	t.Helper()
	s, err := subscription.Fold(stream)
	if err != nil {
		t.Fatalf("the given changes do not fold: %v", err)
	}
	return s
}

// scenario runs a command on what the given changes lead to. What is decided must also be
// accepted by Apply; an empty then means that nothing is left to decide.
func scenario(t *testing.T, stream changes, when command, then changes) {
	t.Helper()
	got, err := when(fold(t, stream))
	if err != nil || len(got) != len(then) || len(then) > 0 && !reflect.DeepEqual(got, then) {
		t.Errorf("got  %+v (error %v)\nwant %+v", got, err, then)
	}
	if _, err := subscription.Fold(append(append(changes{}, stream...), got...)); err != nil {
		t.Errorf("Apply refuses what was decided: %v", err)
	}
}

// refused is a scenario that ends with a problem of that code.
func refused(t *testing.T, stream changes, when command, code problem.Code) {
	t.Helper()
	var s subscription.Subscription
	if len(stream) > 0 {
		s = fold(t, stream)
	}
	if got, err := when(s); !problem.Is(err, code) || got != nil {
		t.Errorf("got %+v and error %v, want %s", got, err, code)
	}
}

func update(to subscription.Settings) command {
	return func(s subscription.Subscription) ([]subscription.Change, error) { return s.Update(to, start) }
}

func pause(reason string) command {
	return func(s subscription.Subscription) ([]subscription.Change, error) { return s.Pause(reason, start) }
}

func resume(skipParked bool) command {
	return func(s subscription.Subscription) ([]subscription.Change, error) { return s.Resume(skipParked, start) }
}

func disable(reason string) command {
	return func(s subscription.Subscription) ([]subscription.Change, error) { return s.Disable(reason, start), nil }
}

func deleted() command {
	return func(s subscription.Subscription) ([]subscription.Change, error) { return s.Delete(start) }
}

func rotate(secretID string, overlap time.Duration, now time.Time) command {
	return func(s subscription.Subscription) ([]subscription.Change, error) {
		return s.RotateSecret(secretID, overlap, now)
	}
}

func complete(now time.Time) command {
	return func(s subscription.Subscription) ([]subscription.Change, error) { return s.CompleteRotation(now) }
}
