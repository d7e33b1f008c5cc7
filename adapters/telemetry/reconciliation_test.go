package telemetry_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/problem"
)

// A database that is away is when metrics are needed: an exporter sends none of a collection that failed, and loops that fail were not seen.
func TestAResultThatCannotBeReadKeepsNoOtherMetricFromTheCollector(t *testing.T) {
	stub := newCollector(t)
	var log bytes.Buffer
	running := start(t, telemetry.Config{Log: telemetry.NewLogger(&log, nil)}, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": stub.URL})
	running.Metrics().ReadReconciliation(func(context.Context) (reconciliation.Result, error) {
		return reconciliation.Result{}, problem.New(problem.Unavailable, "The database does not answer.")
	})
	running.Metrics().StepsFailed(t.Context(), "heartbeat", 3)
	if err := running.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if len(stub.metrics) != 1 {
		t.Fatalf("the collector got %d exports", len(stub.metrics))
	}
	if text := stub.metrics[0].String(); !strings.Contains(text, "ordinavo.loop.failures") || strings.Contains(text, "ordinavo.reconciliation") {
		t.Errorf("exported %s", text)
	}
	if !strings.Contains(log.String(), "read the result of reconciliation") {
		t.Errorf("the log says %s", &log)
	}
}
