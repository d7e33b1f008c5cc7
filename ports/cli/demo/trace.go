package demo

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"sort"
	"strings"
	"sync"
	"time"

	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes spans by OTLP over HTTP, as an observability team's does.
type collector struct {
	server *http.Server
	url    string
	mu     sync.Mutex
	spans  []*otlp.Span
}

func newCollector() (*collector, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start a collector: %w", err)
	}
	c := &collector{url: "http://" + listener.Addr().String()}
	c.server = &http.Server{Handler: c, ReadHeaderTimeout: arriveWithin}
	go func() { _ = c.server.Serve(listener) }()
	return c, nil
}

func (c *collector) close() { _ = c.server.Close() }

// ServeHTTP takes one export.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
	var export collectortrace.ExportTraceServiceRequest
	if err != nil || proto.Unmarshal(body, &export) != nil {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

// of is the spans of a trace, in the order in which they began.
func (c *collector) of(traceID string) (spans []*otlp.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) == traceID {
			spans = append(spans, s)
		}
	}
	sort.Slice(spans, func(i, j int) bool { return spans[i].StartTimeUnixNano < spans[j].StartTimeUnixNano })
	return spans
}

// trace sends an event inside a trace of the caller's, to a receiver that fails once.
func (s *stage) trace(ctx context.Context) error {
	hook := s.receiver.at("/traced", func(n int, w http.ResponseWriter, _ *http.Request) {
		if n == 1 {
			http.Error(w, "once", http.StatusBadGateway)
		}
	})
	if _, err := s.subscribe(ctx, ruhr, hook, []string{"visit_report.rejected"}, nil); err != nil {
		return err
	}
	ids := make([]byte, 24)
	if _, err := rand.Read(ids); err != nil {
		return err
	}
	traceID, emitter := hex.EncodeToString(ids[:16]), hex.EncodeToString(ids[16:])
	caller := s.api
	caller.trace = "00-" + traceID + "-" + emitter + "-01"
	if _, _, err := s.emit(ctx, caller, ruhr, "visit_report.rejected", nil); err != nil {
		return err
	}
	for range 2 {
		got, err := hook.next(ctx)
		if err != nil {
			return err
		}
		if !strings.Contains(got.header.Get("traceparent"), traceID) {
			return fmt.Errorf("the receiver's traceparent %q is not of the emitter's trace %s", got.header.Get("traceparent"), traceID)
		}
	}
	spans, err := s.spans(ctx, traceID, 4)
	if err != nil {
		return err
	}
	s.tick("the emitter's trace goes on to the receiver, over the retry:")
	s.indented("product service (the emitter's span)")
	if shown := s.tree(spans, emitter, "  "); shown < len(spans) {
		return fmt.Errorf("of %d spans only %d are below the emitter's", len(spans), shown)
	}
	return nil
}

// spans waits until the service has exported as many of the trace.
func (s *stage) spans(ctx context.Context, traceID string, atLeast int) ([]*otlp.Span, error) {
	deadline := time.Now().Add(arriveWithin)
	for {
		spans := s.collector.of(traceID)
		if len(spans) >= atLeast {
			return spans, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the collector got %d spans of the trace, not %d", len(spans), atLeast)
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tree shows the spans below a parent, and says how many there are.
func (s *stage) tree(spans []*otlp.Span, parent, indent string) (shown int) {
	for _, span := range spans {
		if hex.EncodeToString(span.ParentSpanId) != parent {
			continue
		}
		took := time.Duration(span.EndTimeUnixNano - span.StartTimeUnixNano)
		s.indented(fmt.Sprintf("%s└ %s  %.1f ms%s", indent, span.Name, milliseconds(took), noted(span)))
		shown += 1 + s.tree(spans, hex.EncodeToString(span.SpanId), indent+"  ")
	}
	return shown
}

// noted is what a reader of the tree wants to know of a span.
func noted(span *otlp.Span) (text string) {
	for _, a := range span.Attributes {
		switch a.Key {
		case "ordinavo.attempt.number":
			text += fmt.Sprintf("  attempt %d", a.Value.GetIntValue())
		case "http.response.status_code":
			text += fmt.Sprintf("  → %d", a.Value.GetIntValue())
		}
	}
	return text
}
