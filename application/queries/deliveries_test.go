package queries_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func TestAttemptsComeFromTheStream(t *testing.T) {
	w := newWorld(t)
	s := w.subscribe("acme", "*")
	d := w.delivery(s)
	w.lease(d)
	changes, err := d.Abandon(s.RetrySchedule, w.now, w.now.Add(time.Second))
	d = w.move(d, "inc_1", changes, err)
	w.now = w.now.Add(time.Minute)
	d = w.record(d, delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 503, StartedAt: w.now, ResponseBody: []byte("busy"), RequestHeaders: map[string]string{"webhook-id": d.EventID}})
	w.now = w.now.Add(time.Hour)
	d = w.record(d, delivery.Outcome{Kind: delivery.KindSucceeded, Status: 200, StartedAt: w.now})

	got, err := (&queries.Deliveries{Reader: w.Store, Tests: w.Store}).Detail(t.Context(), "acme", d.ID)
	w.ok(err)
	if got.Status != delivery.StatusSucceeded || got.URL != "https://example.com/hook" || !strings.Contains(string(got.Body), d.EventID) || len(got.Attempts) != 3 {
		t.Fatalf("%+v", got)
	}
	for i, want := range []delivery.Kind{delivery.KindLeaseExpired, delivery.KindHTTPStatus, delivery.KindSucceeded} {
		if a := got.Attempts[i]; a.Number != i+1 || a.Kind != want || a.StartedAt.IsZero() {
			t.Errorf("attempt %d is %+v", i+1, a)
		}
	}
	if a := got.Attempts[1]; string(a.ResponseBody) != "busy" || a.RequestHeaders["webhook-id"] != d.EventID {
		t.Errorf("the second attempt is %+v", a)
	}
	if _, err := (&queries.Deliveries{Reader: w.Store, Tests: w.Store}).Detail(t.Context(), "other", d.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("another tenant gets %v", err)
	}
}

// Who lists deliveries sees of each how its last attempt ended.
func TestAListTellsHowTheLastAttemptsEnded(t *testing.T) {
	w := newWorld(t)
	s := w.subscribe("acme", "*")
	ask := &queries.Deliveries{Reader: w.Store, Tests: w.Store}
	listed := func() (shown []string) {
		t.Helper()
		list, err := ask.List(t.Context(), queries.DeliveryFilter{Tenant: "acme", Limit: 10})
		w.ok(err)
		for _, d := range list {
			if d.Last == nil {
				shown = append(shown, d.ID+" none")
			} else {
				shown = append(shown, fmt.Sprint(d.ID, " ", d.Last.Number, " ", d.Last.Status))
			}
		}
		return shown
	}
	d := w.delivery(s)
	if got := listed(); !slices.Equal(got, []string{d.ID + " none"}) {
		t.Errorf("before any attempt: %q", got)
	}
	d = w.record(d, delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 503, StartedAt: w.now})
	w.now = w.now.Add(time.Hour)
	w.record(d, delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 404, StartedAt: w.now})
	fresh := w.delivery(s)
	if got := listed(); !slices.Equal(got, []string{fresh.ID + " none", d.ID + " 2 404"}) {
		t.Errorf("after two: %q", got)
	}
}

// damagedAttempts reads no attempt.
type damagedAttempts struct{ queries.DeliveryReader }

func (damagedAttempts) LastAttempts(context.Context, tenant.ID, map[string]int64) (map[string]delivery.Change, error) {
	return nil, nil
}

// Of a delivery whose last attempt is damaged a list said the same as of one that was never attempted.
func TestAListWarnsOfAnAttemptThatCannotBeRead(t *testing.T) {
	w := newWorld(t)
	s := w.subscribe("acme", "*")
	w.record(w.delivery(s), delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 503, StartedAt: w.now})
	w.delivery(s)
	list, err := (&queries.Deliveries{Reader: damagedAttempts{w.Store}, Tests: w.Store}).List(t.Context(), queries.DeliveryFilter{Tenant: "acme", Limit: 10})
	w.ok(err)
	var warned []bool
	for _, d := range list {
		warned = append(warned, d.Last == nil && slices.ContainsFunc(d.Warnings, func(s string) bool { return strings.Contains(s, "last attempt") }))
	}
	if want := []bool{false, true}; !slices.Equal(warned, want) {
		t.Errorf("warned of %v, want %v", warned, want)
	}
}

func TestTheRequestIsTheOneThatWasSent(t *testing.T) {
	w := newWorld(t)
	s := w.subscribe("acme", "*")
	d := w.delivery(s)
	ask := &queries.Deliveries{Reader: w.Store, Tests: w.Store}
	shows := func(url, sent string) {
		t.Helper()
		if got, err := ask.Detail(t.Context(), "acme", d.ID); err != nil || got.URL != url || got.Headers["sent"] != sent {
			t.Errorf("it shows %s with %v, %v", got.URL, got.Headers, err)
		}
	}
	move := func(to string) {
		w.now = w.now.Add(time.Minute)
		settings := s.Settings
		settings.URL = to
		changes, err := s.Update(settings, w.now)
		w.ok(err)
		s = w.change(s, changes...)
		w.now = w.now.Add(time.Minute)
	}
	move("https://example.com/second")
	shows("https://example.com/second", "")
	d = w.record(d, delivery.Outcome{Kind: delivery.KindTimeout, StartedAt: w.now, RequestHeaders: map[string]string{"sent": "1"}})
	move("https://example.com/third")
	shows("https://example.com/second", "1")
	d = w.record(d, delivery.Outcome{Kind: delivery.KindDNS, StartedAt: w.now}) // nothing was sent
	shows("https://example.com/second", "1")
	changes, err := d.RequestRetry(w.now)
	d = w.move(d, "", changes, err)
	d = w.record(d, delivery.Outcome{Kind: delivery.KindSucceeded, StartedAt: w.now, RequestHeaders: map[string]string{"sent": "3"}})
	shows("https://example.com/third", "3")
	w.change(s, subscription.Deleted{At: w.now.Add(-time.Second)})
	shows("https://example.com/third", "3") // although it was deleted by then
}

func TestADeliveryWithoutAttemptsHasAnEmptyList(t *testing.T) {
	w := newWorld(t)
	d := w.delivery(w.subscribe("acme", "*"))
	if got, err := (&queries.Deliveries{Reader: w.Store, Tests: w.Store}).Detail(t.Context(), "acme", d.ID); err != nil || got.Attempts == nil || len(got.Attempts) != 0 {
		t.Errorf("%+v, %v", got.Attempts, err)
	}
}

// damaged is a store that has lost its bodies.
type damaged struct{ *sqlite.Store }

func (damaged) Body(context.Context, delivery.Delivery) ([]byte, error) {
	return nil, fmt.Errorf("%w: it is gone", dispatch.ErrUnreadable)
}

func TestADeliveryWhoseBodyCannotBeReadSaysSo(t *testing.T) {
	w := newWorld(t)
	d := w.delivery(w.subscribe("acme", "*"))
	got, err := (&queries.Deliveries{Reader: damaged{w.Store}}).Detail(t.Context(), "acme", d.ID)
	if err != nil || got.ID != d.ID || len(got.Body) != 0 || !slices.ContainsFunc(got.Warnings, func(text string) bool { return strings.Contains(text, "it is gone") }) {
		t.Errorf("%+v, %v", got, err)
	}
}

// forgetful is a store that has lost what became of deliveries.
type forgetful struct{ *sqlite.Store }

func (forgetful) DeliveryChanges(context.Context, tenant.ID, string) ([]delivery.Change, error) {
	return nil, fmt.Errorf("%w: they are gone", dispatch.ErrUnreadable)
}

func TestADeliveryWhoseAttemptsCannotBeReadSaysSo(t *testing.T) {
	w := newWorld(t)
	d := w.delivery(w.subscribe("acme", "*"))
	d = w.record(d, delivery.Outcome{Kind: delivery.KindTimeout, StartedAt: w.now})
	got, err := (&queries.Deliveries{Reader: forgetful{w.Store}}).Detail(t.Context(), "acme", d.ID)
	if err != nil || got.ID != d.ID || got.Delivery.Attempts != 1 || got.Attempts == nil || len(got.Attempts) != 0 || len(got.Body) == 0 || got.URL == "" ||
		!slices.ContainsFunc(got.Warnings, func(text string) bool { return strings.Contains(text, "they are gone") }) {
		t.Errorf("%+v, %v", got, err)
	}
}

// lost is a store that has lost what is known of subscriptions.
type lost struct{ *sqlite.Store }

func (lost) CurrentSubscription(context.Context, dispatch.Lane) (subscription.Subscription, error) {
	return subscription.Subscription{}, fmt.Errorf("%w: it is lost", dispatch.ErrUnreadable)
}

func TestADeliveryWhoseSubscriptionCannotBeReadSaysSo(t *testing.T) {
	w := newWorld(t)
	d := w.delivery(w.subscribe("acme", "*"))
	d = w.record(d, delivery.Outcome{Kind: delivery.KindTimeout, StartedAt: w.now, RequestHeaders: map[string]string{"sent": "1"}})
	got, err := (&queries.Deliveries{Reader: lost{w.Store}}).Detail(t.Context(), "acme", d.ID)
	if err != nil || got.ID != d.ID || len(got.Body) == 0 || got.Headers["sent"] != "1" || !slices.ContainsFunc(got.Warnings, func(text string) bool { return strings.Contains(text, "it is lost") }) {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestRetryInEachStatus(t *testing.T) {
	failed := delivery.Outcome{Kind: delivery.KindTimeout, StartedAt: start}
	for status, c := range map[delivery.Status]struct {
		bring   func(w *world, d delivery.Delivery) delivery.Delivery
		refused bool
	}{
		delivery.StatusPending:    {func(_ *world, d delivery.Delivery) delivery.Delivery { return d }, true},
		delivery.StatusDelivering: {func(w *world, d delivery.Delivery) delivery.Delivery { w.lease(d); return d }, true},
		delivery.StatusParked: {func(w *world, d delivery.Delivery) delivery.Delivery {
			changes, err := d.Park("", w.now)
			return w.move(d, "", changes, err)
		}, true},
		delivery.StatusRetrying: {func(w *world, d delivery.Delivery) delivery.Delivery { return w.record(d, failed) }, false},
		delivery.StatusSucceeded: {func(w *world, d delivery.Delivery) delivery.Delivery {
			return w.record(d, delivery.Outcome{Kind: delivery.KindSucceeded})
		}, false},
		delivery.StatusDeadLetter: {func(w *world, d delivery.Delivery) delivery.Delivery {
			return w.record(d, delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 410})
		}, false},
		delivery.StatusCancelled: {func(w *world, d delivery.Delivery) delivery.Delivery {
			changes, err := d.Cancel("", w.now)
			return w.move(d, "", changes, err)
		}, false},
	} {
		t.Run(string(status), func(t *testing.T) {
			w := newWorld(t)
			d := c.bring(w, w.delivery(w.subscribe("acme", "*")))
			w.now = w.now.Add(time.Second)
			retries := &queries.Retries{Store: w.Store, Gate: w, Now: func() time.Time { return w.now }}
			after, err := retries.Retry(t.Context(), "acme", d.ID)
			if c.refused {
				if got, readErr := w.Delivery(t.Context(), "acme", d.ID); !problem.Is(err, problem.Conflict) || readErr != nil || got.Status != status {
					t.Errorf("got %v; it is %s, %v", err, got.Status, readErr)
				}
				return
			}
			if err != nil || after.Status != delivery.StatusPending || after.Failures != 0 || !after.DueAt.Equal(w.now) || after.Attempts != d.Attempts {
				t.Fatalf("%+v, %v", after, err)
			}
			w.lease(after) // it is due
		})
	}
	if len(delivery.Statuses()) != 7 {
		t.Error("a status has no case")
	}
}

func TestRetryNeedsAnActiveSubscription(t *testing.T) {
	w := newWorld(t)
	s := w.subscribe("acme", "*")
	d := w.record(w.delivery(s), delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 410})
	retries := &queries.Retries{Store: w.Store, Gate: w, Now: func() time.Time { return w.now }}
	for _, c := range []subscription.Change{subscription.Paused{At: w.now}, subscription.Disabled{At: w.now}, subscription.Deleted{At: w.now}} {
		s = w.change(s, c)
		_, err := retries.Retry(t.Context(), "acme", d.ID)
		if !problem.Is(err, problem.Conflict) || !strings.Contains(err.Error(), string(s.Status)) {
			t.Errorf("%s: got %v", s.Status, err)
		}
	}
	if got, err := w.Delivery(t.Context(), "acme", d.ID); err != nil || got.Status != delivery.StatusDeadLetter {
		t.Errorf("it is %+v, %v", got, err)
	}
}

// Billing events need the feature whenever somebody sends them, also when their bytes are there already.
func TestRetryOfABillingEventAsksTheGate(t *testing.T) {
	w := newWorld(t)
	w.ok(w.SetFeature(t.Context(), "acme", tenant.BillingWebhooks, true, w.now))
	s := w.subscribe("acme", "billing.*")
	id := w.accept("acme", event.BillingEventReady)
	w.handle("acme", id)
	found, err := w.Deliveries(t.Context(), queries.DeliveryFilter{Tenant: "acme", EventID: id, Limit: 10})
	if w.ok(err); len(found) != 1 || found[0].SubscriptionID != s.ID {
		t.Fatalf("%+v", found)
	}
	d := w.record(found[0], delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 410})
	retries := &queries.Retries{Store: w.Store, Gate: w, Now: func() time.Time { return w.now }}
	w.ok(w.SetFeature(t.Context(), "acme", tenant.BillingWebhooks, false, w.now))
	if _, err := retries.Retry(t.Context(), "acme", d.ID); !problem.Is(err, problem.FeatureNotEnabled) {
		t.Errorf("without the feature: %v", err)
	}
	w.ok(w.SetFeature(t.Context(), "acme", tenant.BillingWebhooks, true, w.now))
	if after, err := retries.Retry(t.Context(), "acme", d.ID); err != nil || after.Status != delivery.StatusPending {
		t.Errorf("with it: %+v, %v", after, err)
	}
}

func TestRetryOfNobodysDelivery(t *testing.T) {
	w := newWorld(t)
	d := w.record(w.delivery(w.subscribe("acme", "*")), delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 410})
	retries := &queries.Retries{Store: w.Store, Gate: w, Now: func() time.Time { return w.now }}
	for owner, id := range map[tenant.ID]string{"other": d.ID, "acme": "dlv_none"} {
		if _, err := retries.Retry(t.Context(), owner, id); !problem.Is(err, problem.NotFound) {
			t.Errorf("%s of %s: got %v", id, owner, err)
		}
	}
}

// outrun shows deliveries as they were before somebody else moved them.
type outrun struct {
	*sqlite.Store
	then delivery.Delivery
}

func (o outrun) Delivery(context.Context, tenant.ID, string) (delivery.Delivery, error) {
	return o.then, nil
}

func TestTwoRetriesAtOnce(t *testing.T) {
	w := newWorld(t)
	d := w.record(w.delivery(w.subscribe("acme", "*")), delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 410})
	now := func() time.Time { return w.now }
	if _, err := (&queries.Retries{Store: w.Store, Gate: w, Now: now}).Retry(t.Context(), "acme", d.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := (&queries.Retries{Store: outrun{w.Store, d}, Gate: w, Now: now}).Retry(t.Context(), "acme", d.ID); !problem.Is(err, problem.Conflict) {
		t.Errorf("the slower one got %v", err)
	}
}

// A test is shown as a delivery that is attempted once, to its tenant alone.
func TestATestIsShownAsADelivery(t *testing.T) {
	w := newWorld(t)
	ask := &queries.Deliveries{Reader: w.Store, Tests: w.Store}
	e := subscriptions.Exchange{
		DeliveryID: "dlv_tried", Tenant: "acme", EventID: "evt_tried", EventType: event.TargetImported, SubscriptionID: "sub_1", SubscriptionVersion: 3,
		URL: "https://example.com/hook", Body: []byte("{}"), At: start,
	}
	shown := func(status delivery.Status, attempts int) {
		t.Helper()
		got, err := ask.Detail(t.Context(), "acme", e.DeliveryID)
		if err != nil || !got.Test || got.Status != status || got.Delivery.Attempts != attempts || len(got.Attempts) != attempts ||
			got.URL != e.URL || string(got.Body) != "{}" || got.EventID != e.EventID || got.SubscriptionVersion != 3 {
			t.Errorf("%s: got %+v, %v", status, got, err)
		}
	}
	if err := w.Store.NoteTest(t.Context(), e, subscriptions.Actor{}); err != nil {
		t.Fatal(err)
	}
	shown(delivery.StatusDelivering, 0)
	for kind, status := range map[delivery.Kind]delivery.Status{delivery.KindSucceeded: delivery.StatusSucceeded, delivery.KindTimeout: delivery.StatusDeadLetter} {
		e.DeliveryID = "dlv_" + string(kind)
		e.Outcome = &delivery.Outcome{Kind: kind, StartedAt: start, Duration: time.Second}
		if err := errors.Join(w.Store.NoteTest(t.Context(), e, subscriptions.Actor{}), w.Store.NoteTestEnd(t.Context(), e)); err != nil {
			t.Fatal(err)
		}
		shown(status, 1)
	}
	if _, err := ask.Detail(t.Context(), "other", e.DeliveryID); !problem.Is(err, problem.NotFound) {
		t.Errorf("another tenant got %v", err)
	}
}
