package telemetry_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/telemetry"
)

// written is what a log wrote. OpenTelemetry's messages go to the last log that was set, those of an exporter that a test has left behind too.
type written struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (w *written) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes.Write(line)
}

func (w *written) text() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bytes.String()
}

func TestSizesThatNoQueueCanHaveAreNamedAndIgnored(t *testing.T) {
	for _, variable := range []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY"} {
		for _, value := range []string{"-1", "0", "99999999999999999999", "1000001", "many"} {
			var log written
			stub := newCollector(t)
			running := start(t, telemetry.Config{Log: slog.New(slog.NewTextHandler(&log, nil))},
				map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": stub.URL + "/v1/traces", variable: value})
			_, span := running.Tracer().Start(t.Context(), "work")
			span.End()
			if err := running.Shutdown(t.Context()); err != nil || len(stub.traces) != 1 {
				t.Errorf("%s=%s: %v, and %d exports", variable, value, err, len(stub.traces))
			}
			if !strings.Contains(log.text(), variable+" is not a number from 1 to 1000000") {
				t.Errorf("%s=%s: logged %q", variable, value, log.text())
			}
		}
	}
}

// A batch is no larger than the queue, else a small queue would go out by the clock alone.
func TestABatchFitsASmallQueue(t *testing.T) {
	stub := newCollector(t)
	running := start(t, telemetry.Config{}, map[string]string{
		"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": stub.URL + "/v1/traces", "OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_SCHEDULE_DELAY": "1000000",
	})
	for range 4 {
		_, span := running.Tracer().Start(t.Context(), "work")
		span.End()
	}
	for deadline := time.Now().Add(30 * time.Second); stub.requests() == 0; <-time.After(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a full queue was not exported")
		}
	}
}

func TestAnAddressWithoutASchemeIsNamed(t *testing.T) {
	for address, named := range map[string]bool{
		"collector:4317": true, "127.0.0.1:4317": true, "https://": true, "ftp://collector": true, ":": true,
		"http://127.0.0.1:1": false, "https://collector/key": false, "unix:///run/otel.sock": false, " http://127.0.0.1:1 ": false,
	} {
		for _, variable := range []string{"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"} {
			var log written
			start(t, telemetry.Config{Log: slog.New(slog.NewTextHandler(&log, nil))},
				map[string]string{variable: address, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"})
			if got := strings.Contains(log.text(), variable+" is not an http:// or https:// address"); got != named {
				t.Errorf("%s=%s: logged %q", variable, address, log.text())
			}
		}
	}
}

// Some providers take their key in the path or the query: neither trouble with sending nor with the last flush shows it.
func TestAKeyInTheCollectorsAddressIsNotLogged(t *testing.T) {
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }))
	t.Cleanup(refusing.Close)
	gone := httptest.NewServer(nil)
	gone.Close()
	for _, address := range []string{refusing.URL, gone.URL} {
		var log written
		running := start(t, telemetry.Config{Log: slog.New(slog.NewTextHandler(&log, nil))},
			map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": address + "/otlp/k%C3%A9y-1%3D/", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": address + "/m/key-2?token=key-3"})
		_, span := running.Tracer().Start(t.Context(), "work")
		span.End()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := running.Shutdown(ctx)
		if text := log.text() + err.Error(); strings.Contains(text, "y-1") || strings.Contains(text, "key-2") || strings.Contains(text, "key-3") || !strings.Contains(text, address) {
			t.Errorf("told: %s", text)
		}
	}
}
