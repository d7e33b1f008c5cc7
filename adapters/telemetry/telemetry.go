// Package telemetry is the OpenTelemetry side of the service: traces, metrics, and trace ids in logs. Bodies,
// secrets and customers' names never go in.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Scope is the instrumentation scope of the spans and instruments.
const Scope = "github.com/ordinavo/webhooks"

// serviceName is service.name unless OTEL_SERVICE_NAME or OTEL_RESOURCE_ATTRIBUTES says otherwise.
const serviceName = "ordinavo-webhooks"

// Config is what Start needs besides the OTEL_* variables, which it reads from the process.
type Config struct {
	Version string
	// Log gets trouble with exporting, at most one line per WarnEvery.
	Log *slog.Logger
	// SpanProcessors see every span, in addition to the export; tests record with them.
	SpanProcessors []sdktrace.SpanProcessor
}

// Bounds of a scrape of /metrics.
const (
	maxScrapes    = 4 // at once
	scrapeTimeout = 10 * time.Second
)

// Telemetry is running instrumentation. Shutdown ends it.
type Telemetry struct {
	traces   *sdktrace.TracerProvider
	meters   *sdkmetric.MeterProvider
	metrics  *Metrics
	registry *prometheus.Registry
}

// Start sets traces and metrics up. Exporters run only if OTEL_* variables ask for them, and a collector that
// is down neither delays nor stops the service: what does not fit the queue is dropped. It fails when the
// variables ask for something unknown, such as another exporter. OpenTelemetry has one error handler and one
// logger per process: those of the last Start.
func Start(ctx context.Context, c Config) (*Telemetry, error) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	divert(c.Log)
	if !disabled() {
		warnOfEndpoints(c.Log)
	}
	about, err := describe(ctx, c.Version)
	if err != nil {
		return nil, err
	}
	traces, err := startTraces(ctx, about, c)
	if err != nil {
		return nil, err
	}
	registry, meters, err := startMetrics(ctx, about)
	if err != nil {
		return nil, errors.Join(err, traces.Shutdown(ctx))
	}
	t := &Telemetry{traces: traces, meters: meters, registry: registry}
	if t.metrics, err = newMetrics(meters.Meter(Scope)); err != nil {
		return nil, errors.Join(fmt.Errorf("make the instruments: %w", err), t.Shutdown(ctx))
	}
	return t, nil
}

// describe makes the resource; the variables take precedence over the configuration.
func describe(ctx context.Context, version string) (*resource.Resource, error) {
	about, err := resource.New(ctx,
		resource.WithTelemetrySDK(),
		resource.WithService(), // sets service.instance.id, which tells processes apart
		resource.WithAttributes(semconv.ServiceName(serviceName), semconv.ServiceVersion(version)),
		resource.WithFromEnv(),
	)
	if errors.Is(err, resource.ErrPartialResource) {
		otel.Handle(err)
		err = nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe this process to OpenTelemetry: %w", err)
	}
	return about, nil
}

// Tracer makes spans. They have valid ids even if nothing records them.
func (t *Telemetry) Tracer() trace.Tracer { return t.traces.Tracer(Scope) }

// Metrics is the service's instruments.
func (t *Telemetry) Metrics() *Metrics { return t.metrics }

// Handler serves the metrics to Prometheus, including those of the Go runtime and the process.
func (t *Telemetry) Handler() http.Handler {
	return promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
		EnableOpenMetrics: true, // the older format has no exemplars, which lead from a bucket to a trace
	})
}

// Shutdown exports what is left, as long as ctx allows, and stops. Traces and metrics may go to collectors of which one hangs: neither waits
// for the other.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var traces, metrics error
	var both sync.WaitGroup
	both.Go(func() { traces = t.traces.Shutdown(ctx) })
	both.Go(func() { metrics = t.meters.Shutdown(ctx) })
	both.Wait()
	if err := errors.Join(traces, metrics); err != nil {
		return fmt.Errorf("stop telemetry: %s", pathless(err.Error()))
	}
	return nil
}

// disabled is OTEL_SDK_DISABLED: only "true", in any case, counts (OpenTelemetry's specification of variables).
func disabled() bool { return strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") }

// asked reports whether the variables ask for a signal's exporter; signal is TRACES or METRICS.
func asked(signal string) bool {
	if disabled() {
		return false
	}
	if exporter := os.Getenv("OTEL_" + signal + "_EXPORTER"); exporter != "" {
		return exporter != "none"
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

// statusClass is 2xx for 204, and so on; none when there was no answer.
func statusClass(status int) string {
	if status < 100 || status > 599 {
		return "none"
	}
	return strconv.Itoa(status/100) + "xx"
}
