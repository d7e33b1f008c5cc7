package rest_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

func (f *fake) AttemptCells(_ context.Context, q metrics.Query, limit int) ([]metrics.Cell, error) {
	if q.Tenant != own || limit < 2 {
		return nil, f.fail
	}
	id := q.SubscriptionID
	if id == "" {
		id = "sub_1"
	}
	if q.Together == (metrics.Together{Subscriptions: true, Types: true, Outcomes: true}) {
		return []metrics.Cell{{Count: 105}}, f.fail
	}
	if q.Together == (metrics.Together{Subscriptions: true}) {
		return []metrics.Cell{{EventType: event.TargetImported, Outcome: delivery.KindSucceeded, Count: 100}}, f.fail
	}
	if q.Together == (metrics.Together{Types: true, Outcomes: true}) {
		return []metrics.Cell{{SubscriptionID: id, Count: 105}}, f.fail
	}
	return []metrics.Cell{
		{SubscriptionID: id, EventType: event.TargetImported, Outcome: delivery.KindConnectionLost, Count: 2},
		{SubscriptionID: id, EventType: event.TargetImported, Outcome: delivery.KindConnectionRefused, Count: 3}, // the same word for callers
		{Slot: 1, SubscriptionID: id, EventType: event.TargetImported, Outcome: delivery.KindSucceeded, Bucket: metrics.BucketOf(1e6), Count: 98},
		{Slot: 1, SubscriptionID: id, EventType: event.TargetImported, Outcome: delivery.KindSucceeded, Bucket: metrics.BucketOf(1e9), Count: 2},
	}, f.fail
}

func TestDeliveryMetrics(t *testing.T) {
	h := newHarness(t)
	const path = "/v1/metrics/deliveries"
	got := h.call(h.admin, "GET", path+"?since=2026-07-01T10:00:30Z&until=2026-07-01T11:59:01Z&interval=30m", "").expect(http.StatusOK)
	for _, want := range []string{
		`"since":"2026-07-01T10:00:00Z"`, `"until":"2026-07-01T12:00:00Z"`, `"interval":"30m"`, `"start":"2026-07-01T10:30:00Z"`,
		`"outcome":"connection_refused","count":5`, `"outcome":"succeeded","count":100`, `"p50":0.981`, `"p95":0.981`, `"p99":1004.12`,
	} {
		if !strings.Contains(got.body, want) {
			t.Errorf("%s is not in %s", want, got.body)
		}
	}
	for _, interval := range []string{"1m", "90m", "24h", "1h30m"} {
		got := h.call(h.admin, "GET", path+"?interval="+interval, "").expect(http.StatusOK).text("interval")
		if again := h.call(h.admin, "GET", path+"?interval="+got, "").expect(http.StatusOK).text("interval"); again != got || strings.Contains(got, "0s") {
			t.Errorf("%s is answered as %s, and that as %s", interval, got, again)
		}
	}
	if got := h.call(h.bound, "GET", path, "").expect(http.StatusOK); !strings.Contains(got.body, `"sub_bound"`) || strings.Contains(got.body, `"sub_1"`) {
		t.Errorf("a bound key sees %s", got.body)
	}
	h.call(h.bound, "GET", path+"?subscriptionId=sub_1", "").expect(http.StatusNotFound)
	if got := h.call(h.admin, "GET", path+"?subscriptionId=sub_2", "").expect(http.StatusOK); !strings.Contains(got.body, `"sub_2"`) || strings.Contains(got.body, `"sub_1"`) {
		t.Errorf("asked about one subscription: %s", got.body)
	}
	for groupBy, want := range map[string]string{
		"none":                           `"subscriptionId":null,"eventType":null,"outcome":null,"count":105`,
		"eventType,outcome":              `"subscriptionId":null,"eventType":"target.imported","outcome":"succeeded","count":100`,
		"subscription":                   `"subscriptionId":"sub_1","eventType":null,"outcome":null,"count":105`,
		"outcome,subscription,eventType": `"subscriptionId":"sub_1","eventType":"target.imported","outcome":"succeeded","count":100`,
	} {
		if got := h.call(h.admin, "GET", path+"?groupBy="+groupBy, "").expect(http.StatusOK); !strings.Contains(got.body, want) {
			t.Errorf("by %s: %s", groupBy, got.body)
		}
	}
	for _, groupBy := range []string{"nothing", "none,outcome", "outcome,", "subscriptionId", "Outcome"} {
		if got := h.call(h.admin, "GET", path+"?groupBy="+groupBy, "").expect(http.StatusBadRequest); !strings.Contains(got.body, `"groupBy":["must be none, or`) {
			t.Errorf("by %q: %s", groupBy, got.body)
		}
	}
	h.call(h.reader, "GET", path, "").expect(http.StatusForbidden)
	// Two calls at different moments have the same borders.
	for query, want := range map[string]string{
		"since=2026-07-01T10:07:30Z&until=2026-07-01T11:59:01Z&interval=30m":        "2026-07-01T10:00:00Z to 2026-07-01T12:00:00Z",
		"since=2026-07-01T10:29:59Z&until=2026-07-01T12:00:00Z&interval=30m":        "2026-07-01T10:00:00Z to 2026-07-01T12:00:00Z",
		"since=2026-07-01T10:29:59%2B02:00&until=2026-07-01T10:29:59Z&interval=24h": "2026-07-01T00:00:00Z to 2026-07-02T00:00:00Z",
		"since=2026-07-01T10:29:59Z&until=2026-07-01T10:29:59Z&interval=168h":       "2026-06-29T00:00:00Z to 2026-07-06T00:00:00Z",
		"since=2026-07-01T10:29:59Z&until=2026-07-01T10:30:01Z&interval=1m":         "2026-07-01T10:29:00Z to 2026-07-01T10:31:00Z",
	} {
		got := h.call(h.admin, "GET", path+"?"+query, "").expect(http.StatusOK).json()
		if borders := fmt.Sprint(got["since"], " to ", got["until"]); borders != want {
			t.Errorf("%s is of %s, want %s", query, borders, want)
		}
	}
	for _, query := range []string{"interval=8785h", "since=9999-12-31T23:00:00Z&until=9999-12-31T23:59:00Z&interval=24h", "interval=90s", "interval=0s", "interval=-1m", "interval=x", "subscriptionId=x", "since=x", "since=2026-07-02T00:00:00Z&until=2026-07-01T00:00:00Z",
		"since=2030-01-01T00:00:00Z", "since=2025-01-01T00:00:00Z&interval=1m"} {
		h.call(h.admin, "GET", path+"?"+query, "").expect(http.StatusBadRequest)
	}
}
