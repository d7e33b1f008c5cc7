package telemetry

import (
	"context"
	"log/slog"
	"sync/atomic"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"golang.org/x/time/rate"
)

// exportQueue is what waits for the exporter of traces. The SDK leaves out what finds no room without a word, and nobody could tell why the
// traces of a collector that is slow have holes.
type exportQueue struct {
	room             int64
	waiting, leftOut atomic.Int64
	seldom           rate.Sometimes
	log              *slog.Logger
}

// newExporting makes the processor that hands spans to the exporter in batches.
func newExporting(to sdktrace.SpanExporter, log *slog.Logger) sdktrace.SpanProcessor {
	size, options := batching(log)
	queue := &exportQueue{room: int64(size), seldom: rate.Sometimes{Interval: WarnEvery}, log: log}
	return entrance{sdktrace.NewBatchSpanProcessor(exit{to, queue}, options...), queue}
}

type entrance struct {
	sdktrace.SpanProcessor
	queue *exportQueue
}

// OnEnd is OpenTelemetry's.
func (e entrance) OnEnd(span sdktrace.ReadOnlySpan) {
	switch {
	case !span.SpanContext().IsSampled():
	case e.queue.waiting.Add(1) > e.queue.room:
		e.queue.waiting.Add(-1)
		e.queue.leftOut.Add(1)
	default:
		e.SpanProcessor.OnEnd(span)
	}
}

// Shutdown is OpenTelemetry's. Nobody tells later of what is left out by now, or waits still.
func (e entrance) Shutdown(ctx context.Context) error {
	err := e.SpanProcessor.Shutdown(ctx)
	e.queue.leftOut.Add(e.queue.waiting.Swap(0))
	e.queue.tell()
	return err
}

type exit struct {
	sdktrace.SpanExporter
	queue *exportQueue
}

// ExportSpans is OpenTelemetry's. What is left out is told of once the collector takes spans: an export that fails is logged itself.
func (e exit) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.queue.waiting.Add(-int64(len(spans)))
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.queue.leftOut.Add(int64(len(spans)))
		return err
	}
	if e.queue.leftOut.Load() > 0 {
		e.queue.seldom.Do(e.queue.tell)
	}
	return nil
}

func (q *exportQueue) tell() {
	if spans := q.leftOut.Swap(0); spans > 0 {
		q.log.Warn("spans did not get to the collector, which was away or takes fewer than are made (OTEL_BSP_MAX_QUEUE_SIZE bounds how many wait for it)", "spans", spans)
	}
}
