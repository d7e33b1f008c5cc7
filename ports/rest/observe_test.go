package rest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ordinavo/webhooks/ports/rest"
)

// What is told of a request is of a kind that there is a bounded number of, whatever callers send.
func TestEachRequestIsToldOfOnceItIsAnswered(t *testing.T) {
	var told []string
	h := newHarness(t, func(d *rest.Dependencies) {
		d.Served = func(_ context.Context, method, route string, status int, took time.Duration) {
			told = append(told, fmt.Sprint(method, " ", route, " ", status))
			if took < 0 {
				t.Errorf("%s took %s", route, took)
			}
		}
	})
	h.call(h.admin, "POST", "/v1/events", oneEvent)
	h.call(h.admin, "GET", "/v1/subscriptions/sub_private", "")
	h.call("", "GET", "/v1/events", "")
	h.call("", "GET", "/private/path", "")
	h.call("", "BREW", "/v1/events", "")
	h.store.fail = errors.New("away")
	h.call(h.admin, "GET", "/v1/subscriptions/sub_private", "")
	want := []string{"POST /v1/events 202", "GET /v1/subscriptions/{subscriptionId} 404", "GET /v1/events 401", "GET  404", "_OTHER  405",
		"GET /v1/subscriptions/{subscriptionId} 500"}
	if !slices.Equal(told, want) {
		t.Errorf("told of\n%q, want\n%q", told, want)
	}
}

// A proxy in front says by which scheme a request came, but any caller may say anything.
func TestASchemeIsOneOfTwo(t *testing.T) {
	for said, want := range map[string]string{"https": "https", "http": "http", "": "http", "gopher, and much more": "http"} {
		spans := tracetest.NewSpanRecorder()
		h := newHarness(t, func(d *rest.Dependencies) {
			d.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
		})
		h.call("", "GET", "/healthz", "", "X-Forwarded-Proto", said)
		for _, attribute := range spans.Ended()[0].Attributes() {
			if attribute.Key == "url.scheme" && attribute.Value.AsString() != want {
				t.Errorf("%q is told of as %q", said, attribute.Value.AsString())
			}
		}
	}
}
