package records_test

import (
	"context"
	"errors"
	"testing"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var lane = dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}

// stream is a log that has nothing else.
func stream(list []records.Record, err error) records.Streams {
	return func(context.Context, tenant.ID, string) ([]records.Record, error) { return list, err }
}

// reads has everything that is read out of a stream.
func reads(t *testing.T, from records.Streams) map[string]error {
	t.Helper()
	errs := map[string]error{}
	_, errs["subscription"] = from.LoadSubscription(t.Context(), lane)
	_, errs["history"] = from.SubscriptionHistory(t.Context(), lane)
	_, errs["delivery"] = from.DeliveryChanges(t.Context(), lane.Tenant, "dlv_1")
	_, errs["test"] = from.FindTest(t.Context(), lane.Tenant, "dlv_1")
	left, err := from.StoredSubscription(t.Context(), lane, []byte("{"))
	if errs["stored"] = err; left.ID != lane.SubscriptionID || left.Tenant != lane.Tenant || left.MaxInFlight != subscription.DefaultMaxInFlight {
		t.Errorf("what is left of a subscription is %+v", left)
	}
	return errs
}

// A database that is away has not lost anything, and a receiver must not be told so.
func TestAStreamThatIsNotReadIsNotTakenForEmptyOrDamaged(t *testing.T) {
	away := errors.New("away")
	for what, err := range reads(t, stream(nil, away)) {
		if !errors.Is(err, away) || errors.Is(err, dispatch.ErrUnreadable) || problem.Is(err, problem.NotFound) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestAStreamThatIsDamagedIsToldFromOneThatIsNotThere(t *testing.T) {
	odd := records.Record{Type: "of.a.later.version.v9", Version: 1, Data: []byte("{"), Metadata: []byte("{}")}
	paused := records.Record{Type: "subscription.paused.v1", Version: 1, Data: []byte("{}"), Metadata: []byte("{")}
	for name, c := range map[string]struct {
		from       records.Streams
		unreadable []string
		absent     []string
		fails      []string // in some way
	}{
		"cannot be decoded":  {stream([]records.Record{odd}, nil), []string{"subscription", "history", "stored", "delivery"}, nil, []string{"test"}},
		"cannot be unpacked": {stream(nil, compact.ErrUnreadable), []string{"subscription", "history", "stored", "delivery"}, nil, []string{"test"}},
		"does not say who":   {stream([]records.Record{paused}, nil), []string{"history"}, nil, nil},
		"is not there":       {stream(nil, nil), []string{"stored"}, []string{"subscription", "history", "test"}, nil},
	} {
		errs := reads(t, c.from)
		for _, what := range c.unreadable {
			if !errors.Is(errs[what], dispatch.ErrUnreadable) {
				t.Errorf("%s, which %s: got %v", what, name, errs[what])
			}
		}
		for _, what := range c.absent {
			if !problem.Is(errs[what], problem.NotFound) {
				t.Errorf("%s, which %s: got %v", what, name, errs[what])
			}
		}
		for _, what := range c.fails {
			if errs[what] == nil || problem.Is(errs[what], problem.NotFound) {
				t.Errorf("%s, which %s: got %v", what, name, errs[what])
			}
		}
	}
}

// Fan-out without a subscription would lose its events.
func TestASubscriptionThatIsNotReadIsNotTakenForLost(t *testing.T) {
	away := errors.New("away")
	now := func(err error) func(context.Context, dispatch.Lane) (subscription.Subscription, error) {
		return func(context.Context, dispatch.Lane) (subscription.Subscription, error) {
			return subscription.Subscription{}, err
		}
	}
	damaged := []records.Record{{Tenant: "acme", Stream: "subscription/sub_1", Version: 1, Type: "subscription.paused.v1", Data: []byte{1}}}
	if list, lost, err := stream(nil, nil).AsOf(t.Context(), nil, []dispatch.Lane{lane}, damaged, now(away)); !errors.Is(err, away) {
		t.Errorf("what stands in for a damaged stream is not read: %v, lost %v, %v", list, lost, err)
	}
	state := []records.StoredState{{Lane: lane, State: []byte("{")}}
	if list, lost, err := stream(nil, away).AsOf(t.Context(), state, nil, nil, nil); !errors.Is(err, away) {
		t.Errorf("the stream of a damaged state is not read: %v, lost %v, %v", list, lost, err)
	}
	for _, err := range []error{dispatch.ErrUnreadable, subscription.ErrNotFound} {
		if list, lost, err := stream(nil, nil).AsOf(t.Context(), nil, []dispatch.Lane{lane}, damaged, now(err)); err != nil || len(list) > 0 || len(lost) != 1 || lost[0] != lane {
			t.Errorf("nothing is left of it: %v, lost %v, %v", list, lost, err)
		}
	}
}
