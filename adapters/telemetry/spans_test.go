package telemetry_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/telemetry"
)

// work makes so many spans.
func work(t *testing.T, running *telemetry.Telemetry, times int) {
	for range times {
		_, span := running.Tracer().Start(t.Context(), "work")
		span.End()
	}
}

// A slow collector's traces have holes: the log says so, and how many spans they are, those of an export that failed included.
func TestSpansThatAreLeftOutAreToldOf(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	var requests atomic.Int64
	slow := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if requests.Add(1) == 1 {
			close(asked)
			<-answer
			w.WriteHeader(http.StatusBadRequest)
		}
	}))
	defer slow.Close()
	var log written
	running := start(t, telemetry.Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": slow.URL + "/v1/traces", "OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_SCHEDULE_DELAY": "1",
	})
	work(t, running, 1)
	<-asked
	work(t, running, 8) // which fit
	work(t, running, 42)
	close(answer)
	if err := running.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if text := log.text(); strings.Count(text, "spans did not get to the collector") != 1 || !strings.Contains(text, "spans=43") {
		t.Errorf("the log says %q", text)
	}
}

// Who is told once a minute that spans were left out, and stops the process before the next time, knows of the others too.
func TestSpansThatAreLeftOutInTheLastMinuteAreToldOf(t *testing.T) {
	asked, answer := make(chan struct{}, 20), make(chan struct{})
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-answer
	}))
	defer slow.Close()
	var log written
	running := start(t, telemetry.Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": slow.URL + "/v1/traces", "OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1",
	})
	work(t, running, 1)
	<-asked
	work(t, running, 8+42)
	answer <- struct{}{}
	<-asked
	work(t, running, 1+4)
	close(answer)
	if err := running.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	_ = running.Shutdown(t.Context()) // has nothing more to tell
	if text := log.text(); strings.Count(text, "spans did not get to the collector") != 2 || !strings.Contains(text, "spans=42\n") || !strings.Contains(text, "spans=4\n") {
		t.Errorf("the log says %q", text)
	}
}

// What still waits for a collector that does not answer when the process has to end is left out, too.
func TestSpansThatWaitAtTheEndAreToldOf(t *testing.T) {
	asked, answer := make(chan struct{}, 20), make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-answer
	}))
	defer silent.Close()
	defer close(answer)
	var log written
	running := start(t, telemetry.Config{Log: slog.New(slog.NewTextHandler(&log, nil))}, map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": silent.URL + "/v1/traces", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "1",
	})
	work(t, running, 1)
	<-asked
	work(t, running, 5)
	patient, end := context.WithTimeout(t.Context(), time.Second)
	defer end()
	_ = running.Shutdown(patient)
	if text := log.text(); !strings.Contains(text, "spans did not get to the collector") || !strings.Contains(text, "spans=5\n") {
		t.Errorf("the log says %q", text)
	}
}
