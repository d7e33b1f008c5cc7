package e2e_test

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collectortrace "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector takes what services export by OTLP over HTTP, as an observability team's does.
type collector struct {
	url   string
	mu    sync.Mutex
	spans []*otlp.Span
	raw   map[string][]byte // everything that came, by path
}

func collect(t *testing.T) *collector {
	t.Helper()
	c := &collector{raw: map[string][]byte{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

// variables make a service export to the collector.
func (c *collector) variables() []string {
	return []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.url, "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_EXPORTER_OTLP_COMPRESSION=none",
		"OTEL_METRICS_EXPORTER=otlp", "OTEL_TRACES_EXPORTER=otlp", "OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_METRIC_EXPORT_INTERVAL=200"}
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw[r.URL.Path] = append(c.raw[r.URL.Path], body...)
	if r.URL.Path != "/v1/traces" {
		return
	}
	var export collectortrace.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &export); err != nil {
		http.Error(w, "not OTLP", http.StatusBadRequest)
		return
	}
	for _, resource := range export.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			c.spans = append(c.spans, scope.Spans...)
		}
	}
}

func (c *collector) exported(path string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return string(c.raw[path])
}

// of is the spans of a trace, by kind.
func (c *collector) of(traceID string, kind otlp.Span_SpanKind) (spans []*otlp.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if hex.EncodeToString(s.TraceId) == traceID && s.Kind == kind {
			spans = append(spans, s)
		}
	}
	return spans
}

// wait waits for n spans of the trace and the kind.
func (c *collector) wait(t *testing.T, traceID string, kind otlp.Span_SpanKind, n int) []*otlp.Span {
	t.Helper()
	eventually(t, fmt.Sprintf("%d spans of kind %s", n, kind), func() bool { return len(c.of(traceID, kind)) >= n })
	return c.of(traceID, kind)
}

// attributes are a span's, as text.
func attributes(span *otlp.Span) map[string]string {
	found := map[string]string{}
	for _, a := range span.Attributes {
		switch v := a.Value.Value.(type) {
		case *common.AnyValue_StringValue:
			found[a.Key] = v.StringValue
		case *common.AnyValue_IntValue:
			found[a.Key] = fmt.Sprint(v.IntValue)
		}
	}
	return found
}

// named wants the attributes on the span.
func named(t *testing.T, span *otlp.Span, want map[string]string) {
	t.Helper()
	got := attributes(span)
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s: %s is %q, want %q", span.Name, name, got[name], value)
		}
	}
}

// newTraceparent is an emitter's.
func newTraceparent() (header, traceID, spanID string) {
	id := strings.ToLower(eventID()) // unlike any other
	traceID, spanID = hex.EncodeToString([]byte(id[10:26])), hex.EncodeToString([]byte(id[20:28]))
	return "00-" + traceID + "-" + spanID + "-01", traceID, spanID
}
