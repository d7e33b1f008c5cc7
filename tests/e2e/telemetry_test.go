package e2e_test

import (
	"encoding/hex"
	"net/http"
	"strings"
	"testing"

	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
)

const (
	server   = otlp.Span_SPAN_KIND_SERVER
	consumer = otlp.Span_SPAN_KIND_CONSUMER
	client   = otlp.Span_SPAN_KIND_CLIENT
)

// Issue 2, part 9: one trace from the emitter's traceparent through accept, fan-out and each attempt.
func TestOneTraceFromTheEmitterToTheReceiver(t *testing.T) {
	t.Parallel()
	observed := collect(t)
	s := start(t, t.TempDir(), observed.variables()...)
	acme, hook := newTenant(t, s), receive(t, answers(503, 200))
	sub := acme.subscribe(hook, "*", nil)
	header, traceID, emitter := newTraceparent()
	id := tenant{acme.with("traceparent", header), acme.id}.emit(acme.visit("visit_report.approved", nil))
	sent := acme.settled(id, sub.ID, "succeeded")

	accept := observed.wait(t, traceID, server, 1)[0]
	fanOut := observed.wait(t, traceID, consumer, 1)[0]
	attempts := observed.wait(t, traceID, client, 2)
	if got := hex.EncodeToString(accept.ParentSpanId); got != emitter {
		t.Errorf("the accepting span's parent is %s, not the emitter's %s", got, emitter)
	}
	if string(fanOut.ParentSpanId) != string(accept.SpanId) {
		t.Error("the fan-out's parent is not the accepting span")
	}
	named(t, accept, map[string]string{"http.request.method": "POST", "http.route": "/v1/events", "http.response.status_code": "202"})
	event := map[string]string{"ordinavo.tenant.id": acme.id, "ordinavo.event.id": id, "ordinavo.event.type": "visit_report.approved"}
	named(t, fanOut, event)
	named(t, fanOut, map[string]string{"messaging.system": "ordinavo", "messaging.operation.type": "process"})
	for i, a := range hook.exactly(2) {
		span := spanOf(t, attempts, a.header.Get("traceparent"))
		named(t, span, event)
		named(t, span, map[string]string{"ordinavo.subscription.id": sub.ID, "ordinavo.delivery.id": sent.ID, "ordinavo.attempt.number": []string{"1", "2"}[i],
			"http.request.method": "POST", "http.response.status_code": []string{"503", "200"}[i], "server.address": "127.0.0.1"})
		if sent.Attempts[i].TraceID != traceID {
			t.Errorf("the API says trace %s of attempt %d, want %s", sent.Attempts[i].TraceID, i+1, traceID)
		}
	}
	if got := acme.event(id).TraceID; got != traceID {
		t.Errorf("the API says trace %s of the event, want %s", got, traceID)
	}
	header, traceID, _ = newTraceparent()
	if p := acme.with("traceparent", header).post("/v1/events", object{}).refused(http.StatusBadRequest, "validation_failed"); p.TraceID != traceID {
		t.Errorf("the problem says trace %s, want %s", p.TraceID, traceID)
	}
}

// spanOf is the span that a receiver's traceparent names.
func spanOf(t *testing.T, spans []*otlp.Span, traceparent string) *otlp.Span {
	t.Helper()
	for _, span := range spans {
		if strings.Contains(traceparent, hex.EncodeToString(span.SpanId)) {
			return span
		}
	}
	t.Fatalf("no span of the receiver's traceparent %q", traceparent)
	return nil
}

// The trace context is stored with the records, so it outlives the process.
func TestATraceSurvivesARestart(t *testing.T) {
	t.Parallel()
	observed, dir := collect(t), t.TempDir()
	s := start(t, dir, observed.variables()...)
	acme, hook := newTenant(t, s), receive(t, nil)
	sub := acme.subscribe(hook, "*", object{"status": "paused"})
	header, traceID, _ := newTraceparent()
	id := tenant{acme.with("traceparent", header), acme.id}.emit(acme.visit("visit_report.approved", nil))
	acme.settled(id, sub.ID, "parked")
	s.kill()
	acme.api = acme.at(start(t, dir, observed.variables()...))
	acme.post("/v1/subscriptions/"+sub.ID+"/resume", nil).want(http.StatusOK)
	sent := acme.settled(id, sub.ID, "succeeded")
	if got := hook.exactly(1)[0].header.Get("traceparent"); !strings.Contains(got, traceID) {
		t.Errorf("traceparent %s is not of trace %s", got, traceID)
	}
	named(t, observed.wait(t, traceID, client, 1)[0], map[string]string{"ordinavo.delivery.id": sent.ID, "ordinavo.attempt.number": "1"})
	if acme.event(id).TraceID != traceID || sent.Attempts[0].TraceID != traceID {
		t.Errorf("the API says trace %s, %s, want %s", acme.event(id).TraceID, sent.Attempts[0].TraceID, traceID)
	}
}

// No secret, body or customer name is in a span, a log line or a metric, whatever happens to them.
func TestNothingConfidentialIsObserved(t *testing.T) {
	t.Parallel()
	observed := collect(t)
	s := start(t, t.TempDir(), append(observed.variables(), "ORDINAVO_LOG_LEVEL=debug")...)
	acme := newTenant(t, s)
	acme.do(http.MethodPut, "/v1/directory/customers/12", object{"name": "MARKER-customer", "customerNumber": "MARKER-number"}).want(http.StatusOK)
	acme.do(http.MethodPut, "/v1/directory/contacts/56", object{"displayName": "MARKER-contact"}).want(http.StatusOK)
	acme.do(http.MethodPut, "/v1/directory/locations/34", object{"name": "MARKER-location", "city": "MARKER-city"}).want(http.StatusOK)
	hook := receive(t, func(_ int, _ arrival, w http.ResponseWriter) {
		w.Header().Set("X-Answer", "MARKER-header")
		w.WriteHeader(http.StatusInternalServerError)
		_, _ = w.Write([]byte("MARKER-response"))
	})
	sub := acme.subscribe(hook, "*", object{"url": hook.url + "/MARKER-path?token=MARKER-token", "name": "MARKER-name", "payloadOptions": object{"summaryPreview": true}})
	rotated := into[subscription](acme.post("/v1/subscriptions/"+sub.ID+"/rotate-secret", nil).want(http.StatusOK))
	_, key := acme.keyWith("webhooks.read")
	e := acme.visit("visit_report.approved", object{"internalNotes": "MARKER-notes"})
	e["visitReport"].(object)["title"], e["visitReport"].(object)["summary"] = "MARKER-title", "MARKER-summary"
	acme.settled(acme.with("baggage", "x=MARKER-baggage").emitAs(acme, e), sub.ID, "dead_letter")
	acme.post("/v1/subscriptions/"+sub.ID+"/test", nil).want(http.StatusOK)
	acme.withKey(key).get("/v1/subscriptions?MARKER-query=MARKER-value").want(http.StatusBadRequest)
	acme.with("Idempotency-Key", "MARKER-idempotency").post("/v1/events", object{"MARKER-field": "MARKER-value", "eventType": "MARKER-type"}).want(http.StatusBadRequest)
	acme.post("/v1/subscriptions", wanted(hook, "MARKER-filter", object{"url": "ftp://MARKER-host/"})).want(http.StatusBadRequest)
	acme.get("/v1/deliveries/MARKER-path").want(http.StatusNotFound)
	metrics := scrape(t, s)
	if err := s.stop(); err != nil { // which exports the rest
		t.Error(err)
	}
	secrets := []string{"MARKER", sub.Secret, strings.TrimPrefix(sub.Secret, "whsec_"), rotated.Secret, key, platformKey, "whsec_", "LEGACY-7"}
	for where, text := range map[string]string{"spans": observed.exported("/v1/traces"), "exported metrics": observed.exported("/v1/metrics"), "metrics": metrics, "log": s.log.String()} {
		if len(text) < 200 {
			t.Errorf("the %s have %d bytes: nothing was checked", where, len(text))
		}
		for _, secret := range secrets {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("the %s have %q: …%q…", where, secret, text[max(0, at-200):min(len(text), at+100)])
			}
		}
	}
}

func (a api) emitAs(n tenant, e object) string { return tenant{a, n.id}.emit(e) }
