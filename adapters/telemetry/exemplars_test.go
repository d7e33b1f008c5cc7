package telemetry_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"testing"

	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Whoever sees slow attempts in Prometheus gets from the bucket to the trace of one.
func TestAScrapeLeadsFromABucketToATrace(t *testing.T) {
	running := start(t, telemetry.Config{}, nil)
	ctx, span := running.Tracer().Start(telemetry.WithTraceParent(t.Context(), traceParent), "POST") // of a caller who records it
	running.Metrics().AttemptDone(ctx, delivery.Outcome{Kind: delivery.KindTimeout})
	request, answer := httptest.NewRequest(http.MethodGet, "/metrics", nil), httptest.NewRecorder()
	request.Header.Set("Accept", "application/openmetrics-text;version=1.0.0") // Prometheus prefers it
	running.Handler().ServeHTTP(answer, request)
	exemplar := `(?m)^ordinavo_attempt_duration_seconds_bucket\{.*timeout.*\} 1 # \{.*trace_id="` + span.SpanContext().TraceID().String() + `"`
	if !regexp.MustCompile(exemplar).MatchString(answer.Body.String()) {
		t.Errorf("no bucket has a trace: %s", answer.Body)
	}
}
