package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace"
)

// NewLogger writes JSON lines with the trace_id and span_id of the context they are written with.
func NewLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(traced{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: withUnit})})
}

// withUnit writes a duration as 1.5s: in JSON it would be nanoseconds, which nobody who reads a log expects.
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// traced adds the ids of the context's span. In a logger with an open group they are in the group.
type traced struct{ slog.Handler }

func (h traced) Handle(ctx context.Context, line slog.Record) error {
	if span := trace.SpanContextFromContext(ctx); span.IsValid() {
		line = line.Clone()
		line.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, line)
}

func (h traced) WithAttrs(attrs []slog.Attr) slog.Handler { return traced{h.Handler.WithAttrs(attrs)} }

func (h traced) WithGroup(name string) slog.Handler { return traced{h.Handler.WithGroup(name)} }

// WarnEvery is the shortest time between two log lines about trouble of OpenTelemetry itself.
const WarnEvery = time.Minute

// divert sends OpenTelemetry's own messages, which go to stderr by default, to the log.
func divert(log *slog.Logger) {
	otel.SetLogger(logr.FromSlogHandler(quoteless{log.Handler()}))
	otel.SetErrorHandler(&warner{log: log})
}

// quoteless leaves out what OpenTelemetry quotes of its variables when it cannot read them: a collector's key may be in its headers, a
// password in its address.
type quoteless struct{ slog.Handler }

func (h quoteless) Handle(ctx context.Context, line slog.Record) error {
	kept := slog.NewRecord(line.Time, line.Level, line.Message, line.PC)
	line.Attrs(func(a slog.Attr) bool {
		switch err, _ := a.Value.Any().(error); {
		case a.Key == "input" || a.Key == "key" || a.Key == "value":
		case quotesURL(err):
			kept.AddAttrs(slog.String(a.Key, "it is no URL"))
		default:
			kept.AddAttrs(a)
		}
		return true
	})
	return h.Handler.Handle(ctx, kept)
}

func quotesURL(err error) bool {
	_, quotes := errors.AsType[*url.Error](err)
	return quotes
}

func (h quoteless) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quoteless{h.Handler.WithAttrs(attrs)}
}

func (h quoteless) WithGroup(name string) slog.Handler { return quoteless{h.Handler.WithGroup(name)} }

// warner logs the first error and then at most one per WarnEvery, with the number of those left out: a
// collector that is down fails every few seconds.
type warner struct {
	log     *slog.Logger
	mu      sync.Mutex
	last    time.Time
	leftOut int
}

// Handle gets errors that nobody else sees.
func (w *warner) Handle(err error) {
	if leftOut, due := w.due(time.Now()); due {
		w.log.Warn("telemetry is in trouble; the service goes on without it", slog.String("error", pathless(err.Error())), slog.Int("leftOut", leftOut))
	}
}

func (w *warner) due(now time.Time) (leftOut int, due bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.last.IsZero() && now.Sub(w.last) < WarnEvery {
		w.leftOut++
		return 0, false
	}
	leftOut, w.leftOut, w.last = w.leftOut, 0, now
	return leftOut, true
}
