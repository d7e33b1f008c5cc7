package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The export queue unless OTEL_BSP_* says otherwise: the standard's 2,048 spans last a tenth of a second here
// under load. It takes about 2 KB a span, so 16 MB when full; what does not fit is left out.
const (
	mostWaiting = 8192
	exportBatch = 2048
)

func startTraces(ctx context.Context, about *resource.Resource, c Config) (*sdktrace.TracerProvider, error) {
	options := []sdktrace.TracerProviderOption{sdktrace.WithResource(about)}
	for _, p := range c.SpanProcessors {
		options = append(options, sdktrace.WithSpanProcessor(p))
	}
	switch {
	case asked("TRACES"):
		exporter, err := autoexport.NewSpanExporter(ctx)
		if err != nil {
			return nil, fmt.Errorf("start the exporter of traces: %w", err)
		}
		options = append(options, sdktrace.WithSpanProcessor(newExporting(exporter, c.Log)))
	case disabled(), len(c.SpanProcessors) == 0:
		// Nobody looks at the spans, so they need only ids. The sampled flag of a caller that does record
		// is still passed on to the receivers.
		options = append(options, sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.NeverSample())))
	}
	return sdktrace.NewTracerProvider(options...), nil
}

// batching also says how many spans may wait.
func batching(log *slog.Logger) (queue int, options []sdktrace.BatchSpanProcessorOption) {
	queue = wholeNumber(log, "OTEL_BSP_MAX_QUEUE_SIZE", mostWaiting)
	return queue, []sdktrace.BatchSpanProcessorOption{
		sdktrace.WithMaxQueueSize(queue),
		sdktrace.WithMaxExportBatchSize(min(queue, wholeNumber(log, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", exportBatch))),
		sdktrace.WithBatchTimeout(time.Duration(wholeNumber(log, "OTEL_BSP_SCHEDULE_DELAY", sdktrace.DefaultScheduleDelay)) * time.Millisecond),
	}
}

// TraceParent is the W3C traceparent of the span in ctx; empty when there is none. Trace state and baggage
// are not passed on (contract, section 4).
func TraceParent(ctx context.Context) string {
	var alone carrier
	propagation.TraceContext{}.Inject(ctx, &alone)
	return string(alone)
}

// WithTraceParent makes the span that a W3C traceparent names the remote parent. Junk is ignored, as the
// standard asks.
func WithTraceParent(ctx context.Context, traceParent string) context.Context {
	alone := carrier(traceParent)
	return propagation.TraceContext{}.Extract(ctx, &alone)
}

const headerTraceParent = "traceparent"

// carrier has only the traceparent. Every attempt has one, so it is not a map.
type carrier string

// Get is OpenTelemetry's.
func (c *carrier) Get(key string) string {
	if key == headerTraceParent {
		return string(*c)
	}
	return ""
}

// Set is OpenTelemetry's.
func (c *carrier) Set(key, value string) {
	if key == headerTraceParent {
		*c = carrier(value)
	}
}

// Keys is OpenTelemetry's.
func (c *carrier) Keys() []string { return []string{headerTraceParent} }
