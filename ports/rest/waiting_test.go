package rest

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/ordinavo/webhooks/adapters/telemetry"
)

// Without a database the process is alive and not ready, and no caller takes it for a service that knows nothing.
func TestTheAPIOfAServiceThatWaits(t *testing.T) {
	a := NewWaiting(Dependencies{Tracer: noop.NewTracerProvider().Tracer(""), WithTraceParent: telemetry.WithTraceParent, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })})
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/metrics": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/v1/events": http.StatusServiceUnavailable,
		"/v1/deliveries/dlv_1": http.StatusServiceUnavailable, "/openapi.json": http.StatusServiceUnavailable, "/nowhere": http.StatusServiceUnavailable,
	} {
		method := http.MethodGet
		if path == "/v1/events" {
			method = http.MethodPost
		}
		got, err := a.App().Test(httptest.NewRequest(method, path, nil), -1)
		if err != nil {
			t.Fatal(err)
		}
		if got.StatusCode != want || want == http.StatusServiceUnavailable && got.Header.Get("Retry-After") != "1" {
			t.Errorf("%s %s: %d, Retry-After %q", method, path, got.StatusCode, got.Header.Get("Retry-After"))
		}
		_ = got.Body.Close()
	}
}
