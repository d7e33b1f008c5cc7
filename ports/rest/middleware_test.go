package rest_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/ports/rest"
)

func TestAuthentication(t *testing.T) {
	h := newHarness(t)
	for name, header := range map[string]string{"none": "", "unknown": "Bearer ord_live_0123456789012345678", "short": "Bearer x", "another scheme": "Basic " + h.admin, "no scheme": h.admin, "no key": "Bearer"} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if header != "" {
				headers = []string{"Authorization", header}
			}
			got := h.call("", "GET", "/v1/subscriptions", "", headers...).expect(401).refused("unauthorized")
			if got.header.Get("WWW-Authenticate") != "Bearer" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
	h.call("", "GET", "/v1/subscriptions", "", "Authorization", "bearer "+h.admin).expect(200)
}

func TestAcceptDoesNotMatter(t *testing.T) {
	h := newHarness(t)
	for _, accept := range []string{"text/html", "json", "application/problem+json", "application/json;q=0"} {
		got := h.call(h.admin, "GET", "/v1/subscriptions", "", "Accept", accept).expect(200)
		if got.header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: %s", accept, got.header.Get("Content-Type"))
		}
	}
}

func TestScopesAndTenants(t *testing.T) {
	h := newHarness(t)
	one := "/v1/subscriptions/" + h.subscribe()
	got := h.call(h.reader, "DELETE", one, "").expect(403).refused("missing_scope")
	if got.text("requiredScope") != "webhooks.manage" {
		t.Error(got.body)
	}
	h.call(h.other, "GET", one, "").expect(404).refused("not_found")
	h.call(h.other, "PATCH", one, `{"name":"mine"}`).expect(404).refused("not_found")
	h.call(h.bound, "GET", one, "").expect(404).refused("not_found")
	h.call(h.bound, "DELETE", one, "").expect(404).refused("not_found")
	h.call(h.bound, "POST", "/v1/subscriptions", newSubscription).expect(403).refused("forbidden")
	h.call(h.admin, "GET", "/v1/api-keys", "", "X-Ordinavo-Tenant", own).expect(200)
	h.call(h.other, "GET", one, "", "X-Ordinavo-Tenant", own).expect(404).refused("not_found")
	h.call(h.other, "GET", "/v1/subscriptions", "", "X-Ordinavo-Tenant", own).expect(404).refused("not_found")
	h.call(h.other, "POST", "/v1/subscriptions", newSubscription, "X-Ordinavo-Tenant", own).expect(404).refused("not_found")
	h.call(h.other, "GET", "/v1/api-keys", "", "X-Ordinavo-Tenant", own).expect(404).refused("not_found")
	h.call(h.other, "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"]}`, "X-Ordinavo-Tenant", own).expect(404).refused("not_found")
	h.call(h.platform, "GET", one, "").expect(400).refused("validation_failed", "X-Ordinavo-Tenant")
	h.call(h.platform, "GET", one, "", "X-Ordinavo-Tenant", "a/b").expect(400).refused("validation_failed", "X-Ordinavo-Tenant")
	h.call(h.platform, "GET", "/v1/subscriptions", "", "X-Ordinavo-Tenant", "nobody").expect(404).refused("not_found")
	h.call(h.platform, "GET", one, "", "X-Ordinavo-Tenant", own).expect(200)
}

// The answer to events is kept with them, and not once more: whoever was not told gets it when the request comes again.
func TestTheAnswerToEventsIsKeptWithThem(t *testing.T) {
	h := newHarness(t)
	post := func() answer { return h.call(h.admin, "POST", "/v1/events", oneEvent, "Idempotency-Key", "k") }
	h.store.dies = true
	post().expect(500)
	h.store.dies = false
	again := post().expect(202)
	if again.header.Get("Idempotency-Replayed") != "true" || !strings.Contains(again.body, `"status":"accepted"`) || len(h.store.events) != 1 || h.store.answered != 1 {
		t.Errorf("%v %s, %d events, kept %d times", again.header, again.body, len(h.store.events), h.store.answered)
	}
	if first := h.call(h.admin, "POST", "/v1/events", oneEvent, "Idempotency-Key", "other").expect(202); first.header.Get("Idempotency-Replayed") != "" || h.store.answered != 2 {
		t.Errorf("%v, kept %d times", first.header, h.store.answered)
	}
}

// Events of a request that was given up are not accepted later on, beside those of the same request that came again.
func TestARequestThatWasGivenUpIsNotAcceptedLate(t *testing.T) {
	h := newHarness(t)
	post := func() answer { return h.call(h.admin, "POST", "/v1/events", oneEvent, "Idempotency-Key", "k") }
	late := make(chan func() error, 1)
	h.store.late = late
	post().expect(503).refused("unavailable")
	keep := <-late
	if err := keep(); !problem.Is(err, problem.Conflict) {
		t.Errorf("the first request goes on: %v", err)
	}
	if again := post().expect(202); again.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("again: %v %s", again.header, again.body)
	}
	if err := keep(); !problem.Is(err, problem.Conflict) {
		t.Errorf("the first request goes on after the second: %v", err)
	}
}

const aCustomer = `{"customers": [{"ordinavoCustomerId": 12, "customerNumber": "RRM-001", "name": "Rhein-Ruhr"}],
	"externalIds": [{"sourceSystem": "sap", "entityType": "customer", "ordinavoId": 12, "externalId": "CUST-10042"}]}`

// What must not be made twice is kept with its answer, and answered as it was when the request comes again.
func TestAnswersAreKeptWithWhatIsNotToBeMadeTwice(t *testing.T) {
	for name, c := range map[string]struct {
		method, path, body string
		ends               bool // the next one is refused
	}{
		"a subscription":  {"POST", "/v1/subscriptions", newSubscription, false},
		"a key":           {"POST", "/v1/api-keys", `{"name":"ERP","scopes":["webhooks.read"]}`, false},
		"a secret":        {"POST", "/v1/subscriptions/{sub}/rotate-secret", `{"overlapHours": 24}`, true},
		"a replay":        {"POST", "/v1/subscriptions/{sub}/replay", `{"mode":"original"}`, false},
		"retries in bulk": {"POST", "/v1/deliveries/retry", `{}`, false},
		"a pause":         {"POST", "/v1/subscriptions/{sub}/pause", `{"reason":"away"}`, false},
		"a change":        {"PATCH", "/v1/subscriptions/{sub}", `{"url":"https://erp.example.com/other","status":"paused"}`, false},
		"a deletion":      {"DELETE", "/v1/subscriptions/{sub}", "", true},
		"a record's end":  {"DELETE", "/v1/directory/customers/12", "", true},
		"a mapping's end": {"DELETE", "/v1/directory/external-ids?sourceSystem=sap&entityType=customer&ordinavoId=12", "", true},
		"a retry":         {"POST", "/v1/deliveries/{dlv}/retry", "", false},
		"a tenant":        {"POST", "/v1/tenants", `{"tenantId":"tenant-9","name":"Nine"}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t)
			sub, key := h.subscribe(), h.admin
			h.dead(sub, 1)
			h.store.deliveries[0].Attempts, h.store.deliveries[0].Version = 1, 2
			h.call(key, "POST", "/v1/directory", aCustomer).expect(200)
			at := strings.NewReplacer("{sub}", sub, "{dlv}", h.store.deliveries[0].ID).Replace(c.path)
			if name == "a tenant" {
				key = h.platform
			}
			post := func(idempotencyKey string) answer {
				return h.call(key, c.method, at, c.body, "Idempotency-Key", idempotencyKey)
			}
			before := h.store.writes
			h.store.dies = true
			post("k").expect(500)
			h.store.dies = false
			made := h.store.writes
			again := post("k")
			if again.status/100 != 2 || again.header.Get("Idempotency-Replayed") != "true" || h.store.writes != made || made == before {
				t.Errorf("again: %d %v %s; there were %d, then %d, and are %d", again.status, again.header, again.body, before, made, h.store.writes)
			}
			if n := h.store.guarded.Load(); n > 0 {
				t.Errorf("%d URLs were looked up inside a transaction", n)
			}
			if c.ends {
				if got := post("other"); got.status < 400 {
					t.Errorf("once more: %d %s", got.status, got.body)
				}
				return
			}
			fresh := post("other")
			replayed := post("other")
			for _, header := range []string{"Content-Type", "ETag", "Location"} {
				if fresh.header.Get(header) != replayed.header.Get(header) {
					t.Errorf("%s was %q, and is %q", header, fresh.header.Get(header), replayed.header.Get(header))
				}
			}
			if fresh.status != again.status || replayed.status != fresh.status || replayed.body != fresh.body || replayed.header.Get("Idempotency-Replayed") != "true" {
				t.Errorf("answered %d %s, and then %d %s", fresh.status, fresh.body, replayed.status, replayed.body)
			}
		})
	}
}

// What only looks keeps nothing for a day: an answer may be of 277 KB, and asking again does no harm.
func TestNothingIsKeptOfWhatChangesNothing(t *testing.T) {
	h := newHarness(t)
	sub := h.subscribe()
	h.dead(sub, 1)
	complaint := `{"subscriptionId":"` + sub + `","headers":{},"body":"{}"}`
	for path, body := range map[string]string{
		"/v1/events/preview": oneEvent, "/v1/subscriptions/" + sub + "/preview": `{"eventType":"visit_report.approved"}`, "/v1/signature-doctor": complaint,
		"/v1/deliveries/retry": `{"dryRun":true}`, "/v1/subscriptions/" + sub + "/replay": `{"mode":"original","dryRun":true}`,
	} {
		for range 2 {
			if got := h.call(h.admin, "POST", path, body, "Idempotency-Key", "k").expect(200); got.header.Get("Idempotency-Replayed") != "" || len(h.store.answers) != 0 {
				t.Errorf("%s: %d answers are kept, %v", path, len(h.store.answers), got.header)
			}
		}
	}
	// The key of a dry run is free for the real one.
	h.call(h.admin, "POST", "/v1/deliveries/retry", `{}`, "Idempotency-Key", "k").expect(202)
	if len(h.store.answers) != 1 {
		t.Errorf("%d answers are kept", len(h.store.answers))
	}
}

func TestIdempotency(t *testing.T) {
	h := newHarness(t)
	post := func(key, idempotencyKey, body string) answer {
		return h.call(key, "POST", "/v1/subscriptions", body, "Idempotency-Key", idempotencyKey)
	}
	first := post(h.admin, "k1", newSubscription).expect(201)
	writes := h.store.writes
	again := post(h.admin, "k1", newSubscription).expect(201)
	if again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" ||
		again.header.Get("ETag") != `"1"` || again.header.Get("Content-Type") != "application/json" || h.store.writes != writes {
		t.Errorf("again: %v %s", again.header, again.body)
	}
	post(h.admin, "k1", newSubscription+" ").expect(409).refused("idempotency_conflict")
	for _, kept := range h.store.answers {
		if strings.Contains(string(kept.sealed), "whsec_") {
			t.Error("a secret is stored as it is")
		}
	}
	// Another key gets no answer that was not its own, and a key that may not call the route none at all.
	if got := post(h.other, "k1", newSubscription).expect(201); got.text("id") == first.text("id") {
		t.Error("an answer went to another tenant")
	}
	post(h.reader, "k1", newSubscription).expect(403)
	// A platform key that acts for another tenant does another write.
	without := strings.Replace(oneEvent, `"tenantId":"tenant-123",`, "", 1)
	for _, owner := range []string{own, alien} {
		if got := h.call(h.platform, "POST", "/v1/events", without, "Idempotency-Key", "k", "X-Ordinavo-Tenant", owner).expect(202); got.header.Get("Idempotency-Replayed") != "" {
			t.Error("an answer went to another tenant")
		}
	}
	refused := post(h.admin, "k2", `{}`).expect(400)
	if got := post(h.admin, "k2", `{}`).expect(400); got.header.Get("Idempotency-Replayed") != "true" || got.body != refused.body {
		t.Error("a refusal was not kept")
	}
	h.now = h.now.Add(25 * time.Hour)
	if got := post(h.admin, "k1", newSubscription).expect(201); got.header.Get("Idempotency-Replayed") != "" {
		t.Error("an answer was kept for more than a day")
	}
	for _, bad := range []string{strings.Repeat("x", 256), "ä"} {
		post(h.admin, bad, newSubscription).expect(400).refused("validation_failed", "Idempotency-Key")
	}
}

// A proxy's rule for a path must hold for the route, however the path is spelled.
func TestARouteHasOneSpelling(t *testing.T) {
	h := newHarness(t)
	id := h.subscribe()
	for _, path := range []string{
		"/%6detrics", "/metric%73", "/%2Fmetrics", "/healthz%20", "/open%61pi.json", "/doc%73", "/v1%2Ftenants", "/v1%2ftenants", "/%76%31/tenants", "/%761/tenants",
		"/v1/tenants%2F", "/v1/%74enants", "/v1/subscriptions%2F" + id, "/v1/subscriptions/" + id + "%2Fhistory", "/v1/subscriptions/" + id + "/histor%79",
		"/v1/subscription%73/" + id, "/v1/deliveries/strea%6d",
	} {
		h.call(h.platform, "GET", path, "", "X-Ordinavo-Tenant", own).expect(404).refused("not_found")
	}
	h.call(h.platform, "POST", "/v1/event%73", oneEvent).expect(404).refused("not_found")
	for _, path := range []string{"/v1/subscriptions/" + strings.Replace(id, "_", "%5F", 1), "/v1/subscriptions/" + strings.Replace(id, "_", "%5f", 1) + "/history", "/v1/event-types/visit_report%2Eapproved"} {
		h.call(h.admin, "GET", path, "").expect(200)
	}
	h.call("", "GET", "/metrics", "").expect(200)
}

func TestIdempotencyAfterFailures(t *testing.T) {
	h := newHarness(t)
	post := func() answer { return h.call(h.admin, "POST", "/v1/events", oneEvent, "Idempotency-Key", "k") }
	h.store.fail = errors.New("disk full at /dev/sda1")
	post().expect(500).refused("internal_error")
	h.store.fail = nil
	h.store.hook = func() { panic("a bug") }
	post().expect(500).refused("internal_error")
	h.store.hook = func() {
		if got := post().expect(409).refused("conflict"); got.header.Get("Retry-After") != "1" {
			t.Error("no Retry-After")
		}
	}
	post().expect(202)
	if log := h.log.String(); strings.Count(log, "disk full") != 1 || strings.Count(log, "a bug") != 1 {
		t.Errorf("not logged once: %s", log)
	}
}

func TestFailuresTellNothing(t *testing.T) {
	h := newHarness(t)
	for name, c := range map[string]struct {
		err    error
		status int
		code   string
	}{
		"a bug":          {errors.New("secret text"), 500, "internal_error"},
		"a deadline":     {fmt.Errorf("secret text: %w", context.DeadlineExceeded), 503, "unavailable"},
		"a full queue":   {problem.New(problem.Unavailable, "Full."), 503, "unavailable"},
		"a full disk":    {fmt.Errorf("%w: secret text", problem.New(problem.Unavailable, "No room.")), 503, "unavailable"},
		"an open budget": {fmt.Errorf("secret text: %w", problem.New(problem.Conflict, "No.")), 409, "conflict"},
	} {
		t.Run(name, func(t *testing.T) {
			h.store.fail = c.err
			for _, got := range []answer{
				h.call(h.admin, "GET", "/v1/subscriptions", ""), h.call(h.admin, "POST", "/v1/events", oneEvent), h.call(h.admin, "POST", "/v1/subscriptions", newSubscription),
			} {
				got.expect(c.status).refused(c.code)
				if strings.Contains(got.body, "secret text") {
					t.Error(got.body)
				}
				if c.status == 503 && got.header.Get("Retry-After") == "" {
					t.Error("no Retry-After")
				}
			}
			if told := strings.Contains(h.log.String(), "secret text"); told != (c.status >= 500 && name != "a full queue") {
				t.Errorf("that the log says why is %t", told)
			}
			h.log.Reset()
		})
	}
}

func TestRateLimit(t *testing.T) {
	h := newHarness(t, func(d *rest.Dependencies) { d.RateLimit = 2 })
	for range 4 {
		if got := h.call(h.admin, "GET", "/v1/event-types", "").expect(200); got.header.Get("X-RateLimit-Limit") != "2" {
			t.Errorf("%v", got.header)
		}
	}
	got := h.call(h.admin, "GET", "/v1/event-types", "").expect(429).refused("rate_limited")
	if got.header.Get("Retry-After") != "1" || got.header.Get("X-RateLimit-Remaining") != "0" || got.header.Get("X-RateLimit-Reset") != "2" {
		t.Errorf("%v", got.header)
	}
	h.call(h.reader, "GET", "/v1/event-types", "").expect(200)
	h.now = h.now.Add(-time.Hour) // a clock that is set back gives nothing, and takes nothing
	h.call(h.admin, "GET", "/v1/event-types", "").expect(429)
	h.now = h.now.Add(time.Second)
	h.call(h.admin, "GET", "/v1/event-types", "").expect(200)
	for _, got := range []answer{h.call("", "GET", "/v1/event-types", ""), h.call("", "GET", "/nowhere", ""), h.call("", "GET", "/healthz", "")} {
		if got.header.Get("X-RateLimit-Limit") != "2" || got.header.Get("X-RateLimit-Remaining") != "2" || got.header.Get("X-RateLimit-Reset") != "0" {
			t.Errorf("%d %v", got.status, got.header)
		}
	}
}

// Without a limit the headers are there as well, and tell nobody to wait.
func TestNoRateLimit(t *testing.T) {
	h := newHarness(t, func(d *rest.Dependencies) { d.RateLimit, d.TenantRateLimit = 0, 0 })
	for range 3 {
		for _, got := range []answer{h.call(h.admin, "GET", "/v1/event-types", ""), h.call("", "GET", "/v1/event-types", ""), h.call("", "GET", "/nowhere", ""), h.call("", "GET", "/healthz", "")} {
			if got.header.Get("X-RateLimit-Limit") != "2147483647" || got.header.Get("X-RateLimit-Remaining") != "2147483647" || got.header.Get("X-RateLimit-Reset") != "0" {
				t.Errorf("%d %v", got.status, got.header)
			}
		}
	}
}

// A tenant gets no more by making another key, and what the platform sends for it is not its own.
func TestRateLimitOfATenant(t *testing.T) {
	h := newHarness(t, func(d *rest.Dependencies) { d.RateLimit, d.TenantRateLimit = 2, 1 })
	if got := h.call(h.reader, "GET", "/v1/event-types", "").expect(200); got.header.Get("X-RateLimit-Limit") != "1" {
		t.Errorf("the key's limit is not the tighter one: %v", got.header)
	}
	h.call(h.admin, "GET", "/v1/event-types", "").expect(200)
	got := h.call(h.admin, "GET", "/v1/event-types", "").expect(429).refused("rate_limited")
	if got.header.Get("Retry-After") != "1" || got.header.Get("X-RateLimit-Remaining") != "0" || !strings.Contains(got.body, "All keys of the tenant") {
		t.Errorf("%v %s", got.header, got.body)
	}
	for range 3 {
		if got := h.call(h.platform, "GET", "/v1/event-types", "").expect(200); got.header.Get("X-RateLimit-Limit") != "2" {
			t.Errorf("the platform is charged for the tenant: %v", got.header)
		}
	}
	h.now = h.now.Add(time.Second)
	h.call(h.reader, "GET", "/v1/event-types", "").expect(200)
}

func TestTraces(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
	h := newHarness(t, func(d *rest.Dependencies) {
		d.Tracer, d.TraceParent = tracer, telemetry.TraceParent
	})
	const traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	trace := []string{"traceparent", "00-" + traceID + "-00f067aa0ba902b7-01", "tracestate", "secret=1"}
	h.call(h.admin, "POST", "/v1/events", oneEvent, trace...).expect(202)
	if got := h.call(h.admin, "GET", "/v1/subscriptions/sub_private", "", trace...).expect(404); got.text("traceId") != traceID {
		t.Error(got.body)
	}
	ended := spans.Ended()
	if name := ended[1].Name(); name != "GET /v1/subscriptions/{subscriptionId}" {
		t.Errorf("span %q", name)
	}
	if ended[0].SpanContext().TraceID().String() != traceID || ended[0].SpanContext().TraceState().Len() != 0 {
		t.Errorf("%v", ended[0].SpanContext())
	}
	if want := "00-" + traceID + "-" + ended[0].SpanContext().SpanID().String(); !strings.HasPrefix(h.store.traceParents[0], want) {
		t.Errorf("intake got %s, want %s", h.store.traceParents[0], want)
	}
	h.store.fail = errors.New("away")
	h.call(h.admin, "GET", "/v1/subscriptions/sub_private", "", trace...).expect(500)
	if failed := spans.Ended()[2].Attributes(); !slices.Contains(failed, attribute.String("error.type", "500")) { // text, as the conventions have it
		t.Errorf("a failure has %v", failed)
	}
	for _, attribute := range ended[1].Attributes() {
		if strings.Contains(attribute.Value.String(), "private") {
			t.Errorf("%s = %s", attribute.Key, attribute.Value.String())
		}
	}
}

// What is routed by another method than it came with is told of as what it was; an unknown one as OpenTelemetry's conventions have it.
func TestAMethodIsToldAsItCame(t *testing.T) {
	for method, want := range map[string][2]string{
		"GET": {"GET /v1/events", "GET"}, "HEAD": {"HEAD /v1/events", "HEAD"}, "TRACE": {"TRACE", "TRACE"}, "BREW": {"HTTP", "_OTHER"},
	} {
		spans := tracetest.NewSpanRecorder()
		h := newHarness(t, func(d *rest.Dependencies) {
			d.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test")
		})
		h.call("", method, "/v1/events", "")
		span := spans.Ended()[0]
		told := ""
		for _, attribute := range span.Attributes() {
			if attribute.Key == "http.request.method" {
				told = attribute.Value.AsString()
			}
		}
		if span.Name() != want[0] || told != want[1] || !strings.Contains(h.log.String(), `"method":"`+want[1]+`"`) {
			t.Errorf("%s: the span %q says %s, want %q; the log says %s", method, span.Name(), told, want, h.log.String())
		}
	}
}

func TestLogsHoldNoContent(t *testing.T) {
	h := newHarness(t)
	h.call(h.admin, "POST", "/v1/events", strings.Replace(oneEvent, "Ä", "Top Secret Customer", 1))
	h.call(h.admin, "POST", "/v1/subscriptions", `{"Top Secret Customer":1}`).expect(400)
	h.call(h.admin, "GET", "/v1/deliveries?eventType=Top+Secret+Customer", "").expect(400)
	if log := h.log.String(); strings.Contains(log, "Top Secret") || strings.Contains(log, h.admin) || strings.Count(log, "\n") != 3 {
		t.Error(log)
	}
}

// Over a real connection: what fasthttp refuses by itself also has the contract's form.
func TestServer(t *testing.T) {
	h := newHarness(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.api.Serve(listener) }()
	send := func(prepare func(*http.Request), body string) answer {
		request, err := http.NewRequest("POST", "http://"+listener.Addr().String()+"/v1/events", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		prepare(request)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		return read(t, response)
	}
	send(func(r *http.Request) {}, strings.Repeat("x", 10<<20)).expect(413).refused("payload_too_large")
	send(func(r *http.Request) { r.Header.Set("X-Long", strings.Repeat("x", 20<<10)) }, "").expect(431).refused("invalid_request")
	send(func(r *http.Request) { r.Method = "BREW" }, "").expect(405).refused("invalid_request")
	send(func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+h.admin) }, oneEvent).expect(202)
	for request, want := range map[string]string{
		"nonsense\r\n\r\n": "HTTP/1.1 400 ",
		"GET /v1/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: wrong\r\nContent-Length: x\r\n\r\n": "HTTP/1.1 400 ",
	} {
		if got := raw(t, listener.Addr().String(), request); !strings.HasPrefix(got, want) || !strings.Contains(got, `"code":"invalid_request"`) || !traced.MatchString(got) {
			t.Errorf("%q: %s", request, got)
		}
	}
	unread := raw(t, listener.Addr().String(), "POST /v1/events HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
	if id := traced.FindString(unread); id == "" || !strings.HasPrefix(unread, "HTTP/1.1 413 ") || !strings.Contains(h.log.String(), strings.Replace(id, "traceId", "trace_id", 1)) {
		t.Errorf("%s, and the log says %s", unread, h.log.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	if err := h.api.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-served; err != nil {
		t.Fatal(err)
	}
}

// raw sends bytes that no HTTP client would, and reads the beginning of the answer.
func raw(t *testing.T, address, request string) string {
	t.Helper()
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	if _, err := connection.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4096)
	n, err := connection.Read(answer)
	if err != nil {
		t.Fatal(err)
	}
	return string(answer[:n])
}
