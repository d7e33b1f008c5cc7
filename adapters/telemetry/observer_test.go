package telemetry_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var (
	_ intake.Observer   = (*telemetry.Observer)(nil)
	_ fanout.Observer   = (*telemetry.Observer)(nil)
	_ dispatch.Observer = (*telemetry.Observer)(nil)
)

var now = time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)

func observe(t *testing.T) (*telemetry.Observer, *tracetest.SpanRecorder, *telemetry.Telemetry) {
	spans := tracetest.NewSpanRecorder()
	running := start(t, telemetry.Config{SpanProcessors: []sdktrace.SpanProcessor{spans}}, nil)
	return running.Observer(func() time.Time { return now }), spans, running
}

func leased(acceptedAt time.Time) dispatch.Leased {
	return dispatch.Leased{
		Delivery: delivery.Delivery{
			ID: "dlv_1", Tenant: "tenant-123", EventID: "evt_1", EventType: event.VisitReportApproved, SubscriptionID: "sub_1", DueAt: now.Add(-3 * time.Second),
		},
		Subscription: &subscription.Subscription{Settings: subscription.Settings{
			URL: "https://erp.example.com/hook/hushhush?token=hushhush", Name: "hushhush",
		}},
		Body: []byte("hushhush"), TraceParent: traceParent, AcceptedAt: acceptedAt,
	}
}

func attributes(span sdktrace.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, a := range span.Attributes() {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

func expect(t *testing.T, span sdktrace.ReadOnlySpan, want map[string]string) {
	t.Helper()
	got := attributes(span)
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s is %q, want %q", key, got[key], value)
		}
	}
	if strings.Contains(fmt.Sprint(got, span.Name(), span.Status(), span.Events()), "hushhush") {
		t.Errorf("the span says too much: %v", got)
	}
}

func TestAttemptsBelongToTheTraceOfTheirEvent(t *testing.T) {
	observer, spans, running := observe(t)
	ctx, attempt := observer.AttemptStarted(t.Context(), leased(now.Add(-time.Minute)), 2)
	if attempt.TraceID != "0af7651916cd43dd8448eb211c80319c" || attempt.TraceParent != telemetry.TraceParent(ctx) ||
		!strings.HasPrefix(attempt.TraceParent, "00-"+attempt.TraceID) || attempt.TraceParent == traceParent {
		t.Errorf("got %+v", attempt)
	}
	attempt.End(delivery.Outcome{Kind: delivery.KindHTTPStatus, Status: 503, Error: "hushhush", ResponseBody: []byte("hushhush")})
	span := spans.Ended()[0]
	if span.Parent().SpanID().String() != "b7ad6b7169203331" || span.SpanKind() != trace.SpanKindClient || span.Name() != "POST" {
		t.Errorf("got %s of %v", span.Name(), span.Parent())
	}
	expect(t, span, map[string]string{
		"http.request.method": "POST", "server.address": "erp.example.com", "server.port": "443", "url.scheme": "https",
		"http.response.status_code": "503", "error.type": "503", "http.request.resend_count": "1",
		"ordinavo.tenant.id": "tenant-123", "ordinavo.event.id": "evt_1", "ordinavo.event.type": "visit_report.approved",
		"ordinavo.subscription.id": "sub_1", "ordinavo.delivery.id": "dlv_1", "ordinavo.attempt.number": "2",
	})
	if text := scrape(t, running); !strings.Contains(text, `ordinavo_attempts_total{outcome="http_status",status_class="5xx"} 1`) ||
		!strings.Contains(text, "ordinavo_attempts_in_flight 0") || !strings.Contains(text, `ordinavo_attempt_delay_seconds_sum 3`) {
		t.Error("the attempt was not counted")
	}
}

// A test that an admin sends is traced, but is no attempt of what waits: where nothing is attempted, the alert that says so would be silent.
func TestATestIsNotCountedAsAnAttempt(t *testing.T) {
	observer, spans, running := observe(t)
	sample := leased(now)
	sample.Test = true
	_, attempt := observer.AttemptStarted(t.Context(), sample, 1)
	attempt.End(delivery.Outcome{Kind: delivery.KindSucceeded, Status: 200})
	expect(t, spans.Ended()[0], map[string]string{"http.response.status_code": "200"})
	text := scrape(t, running)
	if !strings.Contains(text, "\nordinavo_attempts_total{outcome=\"succeeded\",status_class=\"2xx\"} 0\n") ||
		strings.Contains(text, "\nordinavo_attempts_in_flight 1") || strings.Contains(text, "\nordinavo_attempt_delay_seconds_count 1") {
		t.Error("the test was counted")
	}
}

// An attempt for which nothing was left to connect with is none: the same alert would be silent.
func TestWhatIsNotMadeIsNotCountedAsAnAttempt(t *testing.T) {
	observer, spans, running := observe(t)
	_, attempt := observer.AttemptStarted(t.Context(), leased(now), 1)
	attempt.NotMade(delivery.Outcome{Kind: delivery.KindConnectionLost})
	expect(t, spans.Ended()[0], map[string]string{"error.type": "connection_lost"})
	if text := scrape(t, running); strings.Contains(text, "\nordinavo_attempts_total{outcome=\"connection_lost\"") || !strings.Contains(text, "\nordinavo_attempts_in_flight 0\n") {
		t.Error("it was counted")
	}
}

// What was parked is due from when it was scheduled, to keep its place: its first attempt is late only from when it was released.
func TestWhatWasParkedIsNotLateForIt(t *testing.T) {
	observer, _, running := observe(t)
	released := leased(now)
	released.Delivery.DueAt, released.Delivery.UpdatedAt = now.Add(-72*time.Hour), now.Add(-2*time.Second)
	_, attempt := observer.AttemptStarted(t.Context(), released, 1)
	attempt.End(delivery.Outcome{Kind: delivery.KindSucceeded, Status: 200})
	retried := leased(now)
	retried.Delivery.UpdatedAt = now.Add(-time.Hour)
	_, attempt = observer.AttemptStarted(t.Context(), retried, 2)
	attempt.End(delivery.Outcome{Kind: delivery.KindSucceeded, Status: 200})
	if text := scrape(t, running); !strings.Contains(text, "\nordinavo_attempt_delay_seconds_sum 5\n") {
		t.Error("the delay is not 2 s since the release and 3 s since the retry was due")
	}
}

// A few dead receivers' probes, each of which has waited for hours, were all that a quiet service attempted: its operator was told that slots
// are short.
func TestWhatWaitsForAReceiverThatIsSparedIsNotLate(t *testing.T) {
	observer, _, running := observe(t)
	probe := leased(now)
	probe.Spared = true
	_, attempt := observer.AttemptStarted(t.Context(), probe, 5)
	text := scrape(t, running)
	attempt.End(delivery.Outcome{Kind: delivery.KindTimeout})
	if !strings.Contains(text, "\nordinavo_attempts_in_flight 1\n") || strings.Contains(text, "\nordinavo_attempt_delay_seconds_count") {
		t.Error("it was told of as late, or not as an attempt")
	}
}

// For an hour the trace goes on (docs/operate.md).
func TestAttemptsHoursLaterAreLinked(t *testing.T) {
	observer, spans, _ := observe(t)
	_, attempt := observer.AttemptStarted(t.Context(), leased(now.Add(1-time.Hour)), 6)
	attempt.End(delivery.Outcome{Kind: delivery.KindSucceeded, Status: 200})
	if within := spans.Ended()[0]; within.Parent().SpanID().String() != "b7ad6b7169203331" || len(within.Links()) != 0 {
		t.Errorf("within the hour it belongs to %v", within.Parent())
	}
	_, attempt = observer.AttemptStarted(t.Context(), leased(now.Add(-time.Hour)), 7)
	attempt.End(delivery.Outcome{Kind: delivery.KindSucceeded, Status: 200})
	span := spans.Ended()[1]
	if span.Parent().IsValid() || attempt.TraceID == "0af7651916cd43dd8448eb211c80319c" {
		t.Errorf("the span still belongs to %v", span.Parent())
	}
	if links := span.Links(); len(links) != 1 || links[0].SpanContext.SpanID().String() != "b7ad6b7169203331" {
		t.Errorf("links are %v", links)
	}
	if _, failed := attributes(span)["error.type"]; failed {
		t.Error("a success has an error")
	}
}

func TestAFanOutHoursLaterIsLinked(t *testing.T) {
	observer, spans, _ := observe(t)
	_, end := observer.FanOut(t.Context(), intake.Accepted{Event: event.Event{ID: "evt_1"}, TraceParent: traceParent, At: now.Add(-time.Hour)})
	end(1, nil)
	span := spans.Ended()[0]
	if links := span.Links(); span.Parent().IsValid() || len(links) != 1 || links[0].SpanContext.SpanID().String() != "b7ad6b7169203331" {
		t.Errorf("it belongs to %v, and its links are %v", span.Parent(), links)
	}
}

func TestFanOutIsAChildOfTheRequest(t *testing.T) {
	observer, spans, running := observe(t)
	accepted := intake.Accepted{Event: event.Event{ID: "evt_1", Type: event.TargetImported, TenantID: "tenant-123"}, TraceParent: traceParent, At: now.Add(-4 * time.Millisecond)}
	child, end := observer.FanOut(t.Context(), accepted)
	end(3, nil)
	_, end = observer.FanOut(t.Context(), accepted)
	end(0, errors.New("hushhush"))
	good, bad := spans.Ended()[0], spans.Ended()[1]
	if good.Parent().SpanID().String() != "b7ad6b7169203331" || !strings.Contains(child, good.SpanContext().SpanID().String()) || good.SpanKind() != trace.SpanKindConsumer {
		t.Errorf("got %v of %v", child, good.Parent())
	}
	expect(t, good, map[string]string{"messaging.message.id": "evt_1", "messaging.operation.type": "process", "ordinavo.tenant.id": "tenant-123", "ordinavo.deliveries": "3"})
	expect(t, bad, nil)
	if bad.Status().Description == "" {
		t.Error("a fan-out that failed looks well")
	}
	if text := scrape(t, running); !strings.Contains(text, `ordinavo_fanout_lag_seconds_bucket{le="0.005"} 1`) || !strings.Contains(text, "ordinavo_deliveries_scheduled_total 3") {
		t.Error("the fan-out was not counted, or the failed one was")
	}
}

// Damage can be in a hundred thousand places at once: it is told of, and does not flood the log. What comes alone is always told of.
func TestOfMuchDamageLittleIsLogged(t *testing.T) {
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	var written bytes.Buffer
	slog.SetDefault(slog.New(slog.NewTextHandler(&written, nil)))
	o, _, _ := observe(t)
	for what, report := range map[string]func(){
		"damaged records":  func() { o.RecordUnreadable(t.Context(), fanout.Record{}) },
		"events set aside": func() { o.EventSetAside(t.Context(), fanout.SetAside{}) },
	} {
		synctest.Test(t, func(t *testing.T) {
			written.Reset()
			for range 100_000 {
				report()
			}
			if lines := strings.Count(written.String(), "\n"); lines != 8 {
				t.Errorf("%d lines for 100,000 %s", lines, what)
			}
			<-time.After(time.Second)
			written.Reset()
			if report(); strings.Count(written.String(), "\n") != 1 {
				t.Errorf("of later %s none is told of", what)
			}
		})
	}
}
