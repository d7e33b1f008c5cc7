package queries_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// troubled is a store that is away for one call, which answers nevertheless.
type troubled struct {
	*sqlite.Store
	fails string // "Event 2" is the second call of Event
	calls map[string]int
}

var errAway = errors.New("the database is away")

func answered[T any](s *troubled, method string, value T, err error) (T, error) {
	if s.calls[method]++; s.fails == fmt.Sprint(method, " ", s.calls[method]) {
		return value, errAway
	}
	return value, err
}

func (s *troubled) AcceptedEvents(ctx context.Context, filter queries.EventFilter) ([]queries.Event, error) {
	list, err := s.Store.AcceptedEvents(ctx, filter)
	return answered(s, "AcceptedEvents", list, err)
}

func (s *troubled) Event(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	e, err := s.Store.Event(ctx, owner, id)
	return answered(s, "Event", e, err)
}

func (s *troubled) FannedOut(ctx context.Context, e queries.Event) (bool, error) {
	done, err := s.Store.FannedOut(ctx, e)
	return answered(s, "FannedOut", done, err)
}

func (s *troubled) GatedOf(ctx context.Context, owner tenant.ID, eventID string) ([]queries.Gated, error) {
	list, err := s.Store.GatedOf(ctx, owner, eventID)
	return answered(s, "GatedOf", list, err)
}

func (s *troubled) SubscriptionsAt(ctx context.Context, owners []tenant.ID, position int64) ([]subscription.Subscription, []dispatch.Lane, error) {
	list, lost, err := s.Store.SubscriptionsAt(ctx, owners, position)
	list, err = answered(s, "SubscriptionsAt", list, err)
	return list, lost, err
}

func (s *troubled) Circuits(ctx context.Context, owner tenant.ID, ids []string, since time.Time) (map[string]circuit.Report, error) {
	found, err := s.Store.Circuits(ctx, owner, ids, since)
	return answered(s, "Circuits", found, err)
}

func (s *troubled) ListSubscriptions(ctx context.Context, owner tenant.ID, after string, limit int) ([]subscription.Subscription, error) {
	list, err := s.Store.ListSubscriptions(ctx, owner, after, limit)
	return answered(s, "ListSubscriptions", list, err)
}

func (s *troubled) DeliveriesOf(ctx context.Context, owner tenant.ID, ids []string, each int) (map[string][]delivery.Delivery, error) {
	found, err := s.Store.DeliveriesOf(ctx, owner, ids, each)
	return answered(s, "DeliveriesOf", found, err)
}

func (s *troubled) Deliveries(ctx context.Context, filter queries.DeliveryFilter) ([]delivery.Delivery, error) {
	list, err := s.Store.Deliveries(ctx, filter)
	return answered(s, "Deliveries", list, err)
}

func (s *troubled) Delivery(ctx context.Context, owner tenant.ID, id string) (delivery.Delivery, error) {
	d, err := s.Store.Delivery(ctx, owner, id)
	return answered(s, "Delivery", d, err)
}

func (s *troubled) DeliveryChanges(ctx context.Context, owner tenant.ID, id string) ([]delivery.Change, error) {
	list, err := s.Store.DeliveryChanges(ctx, owner, id)
	return answered(s, "DeliveryChanges", list, err)
}

func (s *troubled) LastAttempts(ctx context.Context, owner tenant.ID, upTo map[string]int64) (map[string]delivery.Change, error) {
	found, err := s.Store.LastAttempts(ctx, owner, upTo)
	return answered(s, "LastAttempts", found, err)
}

func (s *troubled) Body(ctx context.Context, d delivery.Delivery) ([]byte, error) {
	body, err := s.Store.Body(ctx, d)
	return answered(s, "Body", body, err)
}

func (s *troubled) CurrentSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	current, err := s.Store.CurrentSubscription(ctx, lane)
	return answered(s, "CurrentSubscription", current, err)
}

func (s *troubled) FindTest(ctx context.Context, owner tenant.ID, id string) (subscriptions.Exchange, error) {
	_, err := s.Store.FindTest(ctx, owner, id)
	return answered(s, "FindTest", subscriptions.Exchange{}, err)
}

func (s *troubled) LaneStates(ctx context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]fanout.LaneState, error) {
	found, err := s.Store.LaneStates(ctx, lanes)
	return answered(s, "LaneStates", found, err)
}

func (s *troubled) Save(ctx context.Context, saved []dispatch.Saved) ([]int, error) {
	stale, err := s.Store.Save(ctx, saved)
	return answered(s, "Save", stale, err)
}

func (s *troubled) Enabled(context.Context, tenant.ID, tenant.Feature) (bool, error) {
	return answered(s, "Enabled", true, nil)
}

// What a store did not find out passes neither for nothing nor for all that there is.
func TestALookUpThatFailsIsAnError(t *testing.T) {
	w := newWorld(t)
	w.ok(w.SetFeature(t.Context(), "acme", tenant.BillingWebhooks, true, w.now))
	w.subscribe("acme", "*")
	billing := w.accept("acme", event.BillingEventReady)
	w.handle("acme", billing)
	found, err := w.Deliveries(t.Context(), queries.DeliveryFilter{Tenant: "acme", EventID: billing, Limit: 1})
	w.ok(err)
	tried := w.record(found[0], delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 404, StartedAt: w.now, RequestHeaders: map[string]string{"webhook-id": billing}})
	w.now = w.now.Add(time.Hour) // it is overdue
	store := &troubled{Store: w.Store}
	now := func() time.Time { return w.now }
	events := &queries.Events{Reader: store, Now: now}
	deliveries := &queries.Deliveries{Reader: store, Tests: store}
	retries := &queries.Retries{Store: store, Gate: store, Now: now}
	ask := map[string]func() error{
		"events": func() error {
			_, err := events.List(t.Context(), queries.EventFilter{Tenant: "acme", Limit: 10})
			return err
		},
		"event": func() error { _, err := events.Detail(t.Context(), "acme", billing); return err },
		"list": func() error {
			_, err := deliveries.List(t.Context(), queries.DeliveryFilter{Tenant: "acme", Limit: 10})
			return err
		},
		"delivery": func() error { _, err := deliveries.Detail(t.Context(), "acme", tried.ID); return err },
		"test":     func() error { _, err := deliveries.Detail(t.Context(), "acme", "dlv_none"); return err },
		"retry":    func() error { _, err := retries.Retry(t.Context(), "acme", tried.ID); return err },
	}
	for query, calls := range map[string][]string{
		"events": {"AcceptedEvents 1", "DeliveriesOf 1"},
		"event":  {"Event 1", "Event 2", "FannedOut 1", "SubscriptionsAt 1", "DeliveriesOf 1", "Circuits 1", "GatedOf 1", "ListSubscriptions 1"},
		"list":   {"Deliveries 1", "LastAttempts 1"}, "delivery": {"Delivery 1", "DeliveryChanges 1", "Body 1", "CurrentSubscription 1"},
		"test": {"FindTest 1"}, "retry": {"Delivery 1", "LaneStates 1", "Enabled 1", "Save 1"},
	} {
		for _, call := range calls {
			store.fails, store.calls = call, map[string]int{}
			if err := ask[query](); !errors.Is(err, errAway) {
				t.Errorf("%s, while %s fails: %v", query, call, err)
			}
		}
	}
}
