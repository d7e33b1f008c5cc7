package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel"
	collectormetrics "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	collectortraces "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/domain/event"
)

// otelVariables are all that these tests set; none of them may come from outside.
var otelVariables = []string{
	"OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
	"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER",
	"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY",
}

// start runs telemetry with these OTEL_* variables and no others.
func start(t *testing.T, c telemetry.Config, variables map[string]string) *telemetry.Telemetry {
	t.Helper()
	for _, name := range otelVariables {
		t.Setenv(name, variables[name])
	}
	c.Version = "1.2.3"
	running, err := telemetry.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // again, for tests that have done so
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = running.Shutdown(ctx)
	})
	return running
}

// collector is an OTLP/HTTP collector that keeps what it gets.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	traces  []*collectortraces.ExportTraceServiceRequest
	metrics []*collectormetrics.ExportMetricsServiceRequest
	others  []string
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		switch r.URL.Path {
		case "/v1/traces":
			c.traces = append(c.traces, decode(t, body, &collectortraces.ExportTraceServiceRequest{}))
		case "/v1/metrics":
			c.metrics = append(c.metrics, decode(t, body, &collectormetrics.ExportMetricsServiceRequest{}))
		default:
			c.others = append(c.others, r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(c.Close)
	return c
}

func decode[M proto.Message](t *testing.T, body []byte, into M) M {
	if err := proto.Unmarshal(body, into); err != nil {
		t.Error(err)
	}
	return into
}

func (c *collector) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.traces) + len(c.metrics) + len(c.others)
}

func TestExportsToTheCollectorThatTheVariablesName(t *testing.T) {
	stub := newCollector(t)
	running := start(t, telemetry.Config{}, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": stub.URL, "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test"})
	ctx, span := running.Tracer().Start(t.Context(), "work")
	running.Metrics().EventsAccepted(ctx, []event.Type{event.TargetImported}, 0)
	span.End()
	if err := running.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(stub.traces) != 1 || len(stub.metrics) == 0 || len(stub.others) != 0 {
		t.Fatalf("the collector got %d, %d and %q", len(stub.traces), len(stub.metrics), stub.others)
	}
	got := stub.traces[0].ResourceSpans[0]
	exported := got.ScopeSpans[0].Spans[0]
	if traceID := span.SpanContext().TraceID(); exported.Name != "work" || !bytes.Equal(exported.TraceId, traceID[:]) {
		t.Errorf("exported %v", exported)
	}
	about := map[string]string{}
	for _, a := range got.Resource.Attributes {
		about[a.Key] = a.Value.GetStringValue()
	}
	if about["service.name"] != "ordinavo-webhooks" || about["service.version"] != "1.2.3" || about["deployment.environment.name"] != "test" || about["service.instance.id"] == "" {
		t.Errorf("the resource is %v", about)
	}
}

func TestTheVariablesNameTheService(t *testing.T) {
	stub := newCollector(t)
	running := start(t, telemetry.Config{}, map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": stub.URL + "/v1/traces", "OTEL_SERVICE_NAME": "hooks-eu"})
	_, span := running.Tracer().Start(t.Context(), "work")
	span.End()
	if err := running.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(stub.traces) != 1 || !strings.Contains(stub.traces[0].String(), "hooks-eu") || len(stub.metrics) != 0 {
		t.Errorf("exported %v and %v", stub.traces, stub.metrics)
	}
}

func TestNothingIsExportedUnasked(t *testing.T) {
	stub := newCollector(t)
	for name, variables := range map[string]map[string]string{
		"disabled": {"OTEL_SDK_DISABLED": "TRUE", "OTEL_EXPORTER_OTLP_ENDPOINT": stub.URL, "OTEL_TRACES_EXPORTER": "otlp", "OTEL_METRICS_EXPORTER": "otlp"},
		"none":     {"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": stub.URL},
	} {
		t.Run(name, func(t *testing.T) {
			running := start(t, telemetry.Config{}, variables)
			ctx, span := running.Tracer().Start(t.Context(), "work")
			running.Metrics().EventsAccepted(ctx, []event.Type{event.TargetImported}, 0)
			if span.IsRecording() || !span.SpanContext().IsValid() || telemetry.TraceParent(ctx) == "" {
				t.Errorf("the span is %+v", span.SpanContext())
			}
			span.End()
			of, span := running.Tracer().Start(telemetry.WithTraceParent(t.Context(), traceParent), "work")
			span.End()
			if passedOn := telemetry.TraceParent(of); !strings.HasSuffix(passedOn, "-01") { // its receivers would leave the emitter's trace
				t.Errorf("a caller who records is passed on as %s", passedOn)
			}
			if err := running.Shutdown(t.Context()); err != nil || stub.requests() != 0 {
				t.Errorf("%d requests reached the collector, %v", stub.requests(), err)
			}
		})
	}
}

func TestNothingIsDialledWithoutVariables(t *testing.T) {
	standard, err := net.Listen("tcp", "127.0.0.1:4318") // where OTLP goes by default
	if err != nil {
		t.Skipf("the collector's port is taken: %v", err)
	}
	dialled := make(chan struct{}, 1)
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		if conn, err := standard.Accept(); err == nil {
			dialled <- struct{}{}
			_ = conn.Close()
		}
	}()
	running := start(t, telemetry.Config{}, nil)
	ctx, span := running.Tracer().Start(t.Context(), "work")
	running.Metrics().EventsAccepted(ctx, []event.Type{event.TargetImported}, 0)
	if !span.SpanContext().IsValid() {
		t.Error("the span has no ids")
	}
	span.End()
	if err := running.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	_ = standard.Close()
	<-accepting
	if len(dialled) != 0 {
		t.Error("something dialled the collector's standard address")
	}
}

func TestAnUnknownExporterStopsTheStart(t *testing.T) {
	for _, name := range otelVariables {
		t.Setenv(name, "")
	}
	for _, variable := range []string{"OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"} {
		t.Setenv(variable, "pigeon")
		if _, err := telemetry.Start(t.Context(), telemetry.Config{}); err == nil {
			t.Errorf("%s=pigeon started", variable)
		}
		t.Setenv(variable, "")
	}
}

func TestACollectorThatIsDownNeitherBlocksNorSpams(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	var log bytes.Buffer
	running := start(t, telemetry.Config{Log: telemetry.NewLogger(&log, slog.LevelInfo)}, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": gone.URL})
	for range 50_000 { // many times what the queue holds: would hang here if it blocked
		_, span := running.Tracer().Start(t.Context(), "work")
		span.End()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second) // takes none of it; what went on behind it would write into others' logs
	defer cancel()
	if err := running.Shutdown(ctx); err == nil {
		t.Error("nothing was exported, and Shutdown does not say so")
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), `"spans":50000`) {
		t.Errorf("%d lines, want why and how many:\n%s", lines, log.String())
	}
}

func scrape(t *testing.T, running *telemetry.Telemetry) string {
	t.Helper()
	answer := httptest.NewRecorder()
	running.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("%d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// What OpenTelemetry cannot read of its variables may be a collector's key, or have a password in it.
func TestUnreadableVariablesAreNotQuoted(t *testing.T) {
	var written bytes.Buffer
	start(t, telemetry.Config{Log: telemetry.NewLogger(&written, slog.LevelInfo)}, map[string]string{
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://user:hush hush@127.0.0.1:1",
		"OTEL_EXPORTER_OTLP_HEADERS":  "authorization: Bearer hushhush,other: Bearer hushhush=,x=hushhush%zz",
	})
	text := written.String()
	if !strings.Contains(text, "parse headers") || !strings.Contains(text, "escape header value") || !strings.Contains(text, "parse url") || !strings.Contains(text, "missing '=") {
		t.Errorf("it is not said what is wrong: %s", text)
	}
	if strings.Contains(text, "hush") {
		t.Errorf("the log says too much: %s", text)
	}
}

// What OpenTelemetry cannot tell its caller goes to the log, and does not fill it.
func TestTroubleOfOpenTelemetryIsInTheLogOnce(t *testing.T) {
	var written bytes.Buffer
	start(t, telemetry.Config{Log: telemetry.NewLogger(&written, slog.LevelWarn)}, nil)
	for range 3 {
		otel.Handle(errors.New("the collector is down"))
	}
	if text := written.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, `"level":"WARN"`) || !strings.Contains(text, "the collector is down") {
		t.Errorf("logged %q", text)
	}
}

func TestLinesBelowTheLevelAreLeftOut(t *testing.T) {
	for level, want := range map[slog.Level]int{slog.LevelDebug: 4, slog.LevelInfo: 3, slog.LevelWarn: 2, slog.LevelError: 1} {
		var written bytes.Buffer
		log := telemetry.NewLogger(&written, level)
		for _, of := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError} {
			log.Log(t.Context(), of, "line")
		}
		if got := strings.Count(written.String(), "\n"); got != want {
			t.Errorf("from %s on, %d lines are written", level, got)
		}
	}
}

func TestLinesCarryTheIdsOfTheirSpan(t *testing.T) {
	var written bytes.Buffer
	log := telemetry.NewLogger(&written, slog.LevelInfo).With("part", "test")
	ctx := telemetry.WithTraceParent(t.Context(), traceParent)
	log.InfoContext(ctx, "inside", "n", 1)
	log.Info("outside")
	log.DebugContext(ctx, "too low")
	lines := strings.Split(strings.TrimSpace(written.String()), "\n")
	if len(lines) != 2 {
		t.Fatalf("got %q", lines)
	}
	var inside, outside map[string]any
	if err := errors.Join(json.Unmarshal([]byte(lines[0]), &inside), json.Unmarshal([]byte(lines[1]), &outside)); err != nil {
		t.Fatal(err)
	}
	if inside["trace_id"] != "0af7651916cd43dd8448eb211c80319c" || inside["span_id"] != "b7ad6b7169203331" || inside["part"] != "test" || inside["n"] != 1.0 {
		t.Errorf("got %v", inside)
	}
	if _, has := outside["trace_id"]; has || outside["part"] != "test" {
		t.Errorf("got %v", outside)
	}
}

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestTraceParent(t *testing.T) {
	if got := telemetry.TraceParent(telemetry.WithTraceParent(t.Context(), traceParent)); got != traceParent {
		t.Errorf("%s became %s", traceParent, got)
	}
	for _, junk := range []string{"", "00", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "ff" + traceParent[2:], traceParent + "-more", strings.Repeat("0", 10_000)} {
		if got := telemetry.TraceParent(telemetry.WithTraceParent(t.Context(), junk)); got != "" {
			t.Errorf("%.60q became %s", junk, got)
		}
	}
}
