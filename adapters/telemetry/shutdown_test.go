package telemetry_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/domain/event"
)

// Where the collector of traces takes connections and answers nothing, the last minute's counts still get to that of metrics.
func TestACollectorThatHangsKeepsNothingFromAnother(t *testing.T) {
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hung.Close() }()
	stub := newCollector(t)
	running := start(t, telemetry.Config{}, map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://" + hung.Addr().String() + "/v1/traces", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": stub.URL + "/v1/metrics",
	})
	ctx, span := running.Tracer().Start(t.Context(), "work")
	running.Metrics().EventsAccepted(ctx, []event.Type{event.TargetImported}, 0)
	span.End()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = running.Shutdown(ctx) // which the hung one keeps waiting
	}()
	for look := time.NewTicker(5 * time.Millisecond); ctx.Err() == nil && stub.requests() == 0; <-look.C {
	}
	cancel()
	<-stopped
	if stub.requests() == 0 {
		t.Error("no metrics were exported")
	}
}
