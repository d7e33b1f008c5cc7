package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
)

// answer is what a request got.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

// expect stops the test at another status.
func (a answer) expect(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// json is the body as a map.
func (a answer) json() map[string]any {
	a.t.Helper()
	var decoded map[string]any
	if err := json.Unmarshal([]byte(a.body), &decoded); err != nil {
		a.t.Fatalf("not JSON: %v: %s", err, a.body)
	}
	return decoded
}

// text is a string member of the body.
func (a answer) text(name string) string {
	a.t.Helper()
	text, ok := a.json()[name].(string)
	if !ok {
		a.t.Fatalf("%s is no string: %s", name, a.body)
	}
	return text
}

// traced is what a problem has, from wherever it comes.
var traced = regexp.MustCompile(`"traceId":"[0-9a-f]{32}"`)

// refused checks that the answer is a problem of the contract's form, with the code and the fields.
func (a answer) refused(code string, fields ...string) answer {
	a.t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		a.t.Fatalf("status %d, Content-Type %q, want a problem: %s", a.status, got, a.body)
	}
	decoded := a.json()
	if decoded["code"] != code || decoded["status"] != float64(a.status) || decoded["type"] != "urn:ordinavo:problem:"+code {
		a.t.Fatalf("want code %s: %s", code, a.body)
	}
	for _, key := range []string{"title", "detail", "traceId"} {
		if _, ok := decoded[key].(string); !ok {
			a.t.Errorf("a problem without %s: %s", key, a.body)
		}
	}
	if !traced.MatchString(a.body) {
		a.t.Errorf("a problem without a trace: %s", a.body)
	}
	errors, _ := decoded["errors"].(map[string]any)
	for _, field := range fields {
		if _, ok := errors[field]; !ok {
			a.t.Errorf("errors do not name %q: %s", field, a.body)
		}
	}
	return a
}

const (
	newSubscription = `{"name":"SAP","url":"https://erp.example.com/hook","eventTypes":["visit_report.*"],"sourceSystem":"sap","retrySchedule":["1s","2m"],"timeoutSeconds":2.5,"maxInFlight":4}`
	oneEvent        = `{"eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z","tenantId":"tenant-123","customerId":12,"visitReport":{"id":901,"title":"Ä"},"target":{"id":455,"customerNumber":"legacy"},"unknown":{"a":[1]}}`
)

func (h *harness) subscribe() string {
	h.Helper()
	return h.call(h.admin, "POST", "/v1/subscriptions", newSubscription).expect(201).text("id")
}

// A URL's host may be looked up, which takes as long as somebody else's name server likes: nobody waits for that with a transaction open.
func TestURLsAreLookedUpOutsideOfTransactions(t *testing.T) {
	h := newHarness(t)
	id := h.call(h.admin, "POST", "/v1/subscriptions", strings.Replace(newSubscription, `"name"`, `"status":"paused","name"`, 1)).expect(201).text("id")
	h.call(h.admin, "POST", "/v1/subscriptions", newSubscription, "Idempotency-Key", "k").expect(201)
	changed := h.call(h.admin, "PATCH", "/v1/subscriptions/"+id, `{"url":"https://elsewhere.example/","status":"active"}`).expect(200)
	if changed.text("status") != "active" || changed.text("url") != "https://elsewhere.example/" {
		t.Errorf("changed to %s", changed.body)
	}
	if n := h.store.guarded.Load(); n > 0 {
		t.Errorf("%d URLs were looked up in a transaction", n)
	}
}

func TestSubscriptionLife(t *testing.T) {
	h := newHarness(t)
	made := h.call(h.admin, "POST", "/v1/subscriptions", newSubscription).expect(201)
	want := map[string]any{"tenantId": own, "name": "SAP", "status": "active", "version": 1.0, "timeoutSeconds": 2.5, "maxInFlight": 4.0, "statusReason": nil, "secretRotation": nil}
	for key, value := range want {
		if got := made.json()[key]; got != value {
			t.Errorf("%s = %v, want %v", key, got, value)
		}
	}
	if !strings.Contains(made.body, `"retrySchedule":["1s","2m"]`) || !strings.HasPrefix(made.text("secret"), "whsec_") || made.header.Get("ETag") != `"1"` {
		t.Errorf("answer %s, ETag %s", made.body, made.header.Get("ETag"))
	}
	if want := `"payloadOptions":{"customerContext":true,"contactDetails":true,"summaryPreview":false,"billingDetails":false}`; !strings.Contains(made.body, want) {
		t.Errorf("%s lacks %s", made.body, want)
	}
	one := "/v1/subscriptions/" + made.text("id")
	if got := h.call(h.admin, "GET", one, "").expect(200); strings.Contains(got.body, "whsec_") {
		t.Error("the secret was shown twice")
	}
	patched := h.call(h.admin, "PATCH", one, `{"payloadOptions":{"summaryPreview":true},"retrySchedule":null,"status":"paused"}`, "If-Match", `"1"`).expect(200)
	if !strings.Contains(patched.body, `"contactDetails":true,"summaryPreview":true`) || !strings.Contains(patched.body, `["30s","2m"]`) || patched.text("status") != "paused" {
		t.Errorf("patched: %s", patched.body)
	}
	h.call(h.admin, "PATCH", one, `{"name":"x"}`, "If-Match", `"1"`).expect(409).refused("conflict")
	h.call(h.admin, "PATCH", one, `{"status":"active"}`, "If-Match", "*").expect(200)
	h.call(h.admin, "POST", one+"/pause", `{"reason":"maintenance"}`).expect(200)
	if resumed := h.call(h.admin, "POST", one+"/resume", `{"skipParked": false}`).expect(200); resumed.text("status") != "active" {
		t.Errorf("resumed: %s", resumed.body)
	}
	// Neither a change of the status nor a resume that says false cancels what was parked.
	if history := h.call(h.admin, "GET", one+"/history", "").expect(200).body; strings.Count(history, "what was parked is sent") != 2 || strings.Contains(history, "was cancelled") {
		t.Errorf("resumed twice: %s", history)
	}
	rotated := h.call(h.admin, "POST", one+"/rotate-secret", `{"overlapHours": 24}`).expect(200)
	if rotated.json()["secretRotation"].(map[string]any)["overlapEnd"] != "2026-06-19T17:00:00Z" || rotated.text("secret") == "" {
		t.Errorf("rotated: %s", rotated.body)
	}
	h.call(h.admin, "POST", one+"/rotate-secret", "").expect(409).refused("conflict")
	h.call(h.admin, "POST", one+"/rotate-secret/complete", "").expect(200)
	test := h.call(h.admin, "POST", one+"/test", `{"eventType":"visit_report.approved"}`).expect(200)
	if test.text("outcome") != "succeeded" || test.json()["durationMs"] != 12.4 {
		t.Errorf("test: %s", test.body)
	}
	for _, other := range []string{`"0"`, `W/"4"`, `"abc"`, `"04"`, `"1", "2"`} {
		h.call(h.admin, "DELETE", one, "", "If-Match", other).expect(409).refused("conflict")
	}
	h.call(h.admin, "DELETE", one, "").expect(204)
	h.call(h.admin, "GET", one, "").expect(404).refused("not_found")
	paused := h.call(h.admin, "POST", "/v1/subscriptions", strings.Replace(newSubscription, `"name"`, `"status":"paused","name"`, 1)).expect(201)
	if paused.text("status") != "paused" || paused.json()["version"] != 2.0 {
		t.Errorf("created paused: %s", paused.body)
	}
}

// A client that has lost its ETag, and sends what is left of it, meant to overwrite nobody's change.
func TestAnEmptyConditionIsRefused(t *testing.T) {
	h := newHarness(t)
	one := "/v1/subscriptions/" + h.subscribe()
	for _, change := range [][3]string{
		{"PATCH", "", `{"name":"x"}`}, {"DELETE", "", ""}, {"POST", "/pause", ""}, {"POST", "/resume", ""}, {"POST", "/rotate-secret", ""}, {"POST", "/rotate-secret/complete", ""},
	} {
		for _, empty := range []string{"", "  "} {
			h.call(h.admin, change[0], one+change[1], change[2], "If-Match", empty).expect(400).refused("validation_failed", "If-Match")
		}
	}
	if got := h.call(h.admin, "GET", one, "", "If-Match", "").expect(200); got.json()["version"] != 1.0 {
		t.Errorf("it was changed: %s", got.body)
	}
	document := h.call("", "GET", "/openapi.json", "").expect(200).body
	if !regexp.MustCompile(`"name":"If-Match","schema":\{[^}]*"minLength":1,`).MatchString(document) {
		t.Error("to the document an empty one is as good as another")
	}
}

// A header in several lines is one list: of an empty line and another one, the other one counts too.
func TestAConditionInSeveralLines(t *testing.T) {
	h := newHarness(t)
	one := "/v1/subscriptions/" + h.subscribe()
	h.call(h.admin, "PATCH", one, `{"name":"x"}`, "If-Match", "", "If-Match", `"7"`).expect(400).refused("validation_failed", "If-Match")
	h.call(h.admin, "PATCH", one, `{"name":"x"}`, "If-Match", `"8"`, "If-Match", `"7"`).expect(409).refused("conflict")
	h.call(h.admin, "PATCH", one, `{"name":"x"}`, "If-Match", `"7"`, "If-Match", `"1"`).expect(200)
}

// When they compress an answer, nginx makes its ETag weak, and Apache gives it an ending: whoever sends it back would read the subscription again and again.
func TestAConditionThatAProxyMadeIsExplained(t *testing.T) {
	h := newHarness(t)
	one := "/v1/subscriptions/" + h.subscribe()
	for _, foreign := range []string{`W/"1"`, `"1-gzip"`, `"1-br", "7"`} {
		got := h.call(h.admin, "PATCH", one, `{"name":"x"}`, "If-Match", foreign).expect(409).refused("conflict")
		if !strings.Contains(got.text("detail"), "without the W/") {
			t.Errorf("of %s it says: %s", foreign, got.body)
		}
	}
	h.call(h.admin, "PATCH", one, `{"name":"x"}`, "If-Match", `"1"`).expect(200)
	if got := h.call(h.admin, "PATCH", one, `{"name":"x"}`, "If-Match", `"1"`).expect(409); !strings.Contains(got.text("detail"), "read it again") {
		t.Errorf("it says: %s", got.body)
	}
	h.call(h.admin, "PATCH", "/v1/subscriptions/sub_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", `{"name":"x"}`, "If-Match", `W/"1"`).expect(404)
}

func TestBillingNeedsTheFeature(t *testing.T) {
	h := newHarness(t)
	billing := strings.Replace(newSubscription, "visit_report.*", "billing.*", 1)
	h.call(h.admin, "POST", "/v1/subscriptions", billing).expect(403).refused("feature_not_enabled")
	h.call(h.platform, "PUT", "/v1/tenants/tenant-123/features/billing_webhooks", `{"enabled": true}`).expect(200)
	h.call(h.admin, "POST", "/v1/subscriptions", billing).expect(201)
	h.call(h.platform, "PUT", "/v1/tenants/tenant-123/features/nonsense", `{"enabled": true}`).expect(400).refused("validation_failed", "feature")
	h.call(h.platform, "PUT", "/v1/tenants/nobody/features/billing_webhooks", `{"enabled": true}`).expect(404).refused("not_found")
}

func TestTenants(t *testing.T) {
	h := newHarness(t)
	h.call(h.platform, "POST", "/v1/tenants", `{"tenantId":"new.tenant","name":"Ruhr Service GmbH"}`).expect(201)
	h.call(h.platform, "POST", "/v1/tenants", `{"tenantId":"new.tenant","name":"Ruhr Service GmbH"}`).expect(409).refused("conflict")
	if all := h.call(h.platform, "GET", "/v1/tenants", "").expect(200); strings.Count(all.body, "tenantId") != 3 {
		t.Errorf("tenants: %s", all.body)
	}
	cursor := h.call(h.platform, "GET", "/v1/tenants?limit=2", "").expect(200).text("nextCursor")
	if rest := h.call(h.platform, "GET", "/v1/tenants?limit=2&cursor="+cursor, "").expect(200); strings.Count(rest.body, "tenantId") != 1 || rest.json()["nextCursor"] != nil {
		t.Errorf("the second page: %s", rest.body)
	}
	h.call(h.admin, "GET", "/v1/tenants", "").expect(403).refused("missing_scope")
}

func TestTenantWeights(t *testing.T) {
	h := newHarness(t)
	weight := func(method, path, body string, status, want int) {
		t.Helper()
		var got struct{ Weight int }
		if err := json.Unmarshal([]byte(h.call(h.platform, method, path, body).expect(status).body), &got); err != nil || got.Weight != want {
			t.Errorf("%s: weight %d, %v; want %d", body, got.Weight, err, want)
		}
	}
	weight("POST", "/v1/tenants", `{"tenantId":"light","name":"Light"}`, 201, 1)
	weight("POST", "/v1/tenants", `{"tenantId":"heavy","name":"Heavy","weight":100}`, 201, 100)
	weight("PATCH", "/v1/tenants/light", `{"weight":7}`, 200, 7)
	weight("PATCH", "/v1/tenants/light", `{"name":"Lighter"}`, 200, 7)
	weight("PATCH", "/v1/tenants/light", `{}`, 200, 7)
	for _, bad := range []string{"0", "101", "-1", "1.5", `"5"`, "null", "1e99"} {
		h.call(h.platform, "POST", "/v1/tenants", `{"tenantId":"bad","name":"Bad","weight":`+bad+`}`).expect(400).refused("validation_failed", "weight")
		h.call(h.platform, "PATCH", "/v1/tenants/light", `{"weight":`+bad+`}`).expect(400).refused("validation_failed", "weight")
	}
	for _, bad := range []string{`""`, "null", "7"} {
		h.call(h.platform, "PATCH", "/v1/tenants/light", `{"name":`+bad+`}`).expect(400).refused("validation_failed", "name")
	}
	if all := h.call(h.platform, "GET", "/v1/tenants", "").expect(200); !strings.Contains(all.body, `"name":"Lighter","weight":7`) {
		t.Errorf("tenants: %s", all.body)
	}
	h.call(h.platform, "PATCH", "/v1/tenants/nobody", `{"weight":7}`).expect(404).refused("not_found")
	h.call(h.admin, "PATCH", "/v1/tenants/"+own, `{"weight":7}`).expect(403).refused("missing_scope")
}

func TestKeys(t *testing.T) {
	h := newHarness(t)
	made := h.call(h.platform, "POST", "/v1/api-keys", `{"name":"ERP","tenantId":"tenant-123","scopes":["webhooks.read"],"expiresAt":"2027-01-01T00:00:00Z"}`).expect(201)
	if got := made.text("key"); !strings.HasPrefix(got, "ord_live_") || made.text("tenantId") != own || made.text("expiresAt") != "2027-01-01T00:00:00Z" {
		t.Errorf("made: %s", made.body)
	}
	h.call(made.text("key"), "GET", "/v1/subscriptions", "").expect(200)
	if list := h.call(h.admin, "GET", "/v1/api-keys", "").expect(200); !strings.Contains(list.body, made.text("id")) || strings.Contains(list.body, alien) || strings.Contains(list.body, made.text("key")) {
		t.Errorf("keys: %s", list.body)
	}
	if ids := h.walk("/v1/api-keys?limit=2", "id"); len(ids) != 4 {
		t.Errorf("pages: %v", ids)
	}
	if list := h.call(h.platform, "GET", "/v1/api-keys?tenantId="+alien, "").expect(200); strings.Count(list.body, alien) != 1 || strings.Contains(list.body, own) {
		t.Errorf("keys of one tenant: %s", list.body)
	}
	h.call(h.admin, "GET", "/v1/api-keys?tenantId="+alien, "").expect(404).refused("not_found")
	h.call(h.other, "DELETE", "/v1/api-keys/"+made.text("id"), "").expect(404).refused("not_found")
	h.call(h.admin, "DELETE", "/v1/api-keys/"+made.text("id"), "").expect(204)
	h.call(made.text("key"), "GET", "/v1/subscriptions", "").expect(401).refused("unauthorized")
	revoked := `"name":"ERP","tenantId":"tenant-123","scopes":["webhooks.read"],"subscriptionId":null,"prefix":"` + made.text("key")[:15] + `","createdAt":"2026-06-18T17:00:00Z","expiresAt":"2027-01-01T00:00:00Z","revokedAt":"2026-06-18T17:00:00Z"`
	if list := h.call(h.admin, "GET", "/v1/api-keys", "").expect(200); !strings.Contains(list.body, revoked) {
		t.Errorf("%s is not in %s", revoked, list.body)
	}
	h.call(h.admin, "POST", "/v1/api-keys", `{"name":"x","scopes":["platform.admin"]}`).expect(400).refused("validation_failed", "scopes")
	h.call(h.admin, "POST", "/v1/api-keys", `{"name":"x","tenantId":"tenant-999","scopes":["webhooks.read"]}`).expect(403).refused("forbidden")
	h.call(h.reader, "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"]}`).expect(403).refused("missing_scope")
	h.call(h.reader, "GET", "/v1/api-keys", "").expect(403).refused("missing_scope")
	h.call(h.reader, "DELETE", "/v1/api-keys/"+made.text("id"), "").expect(403).refused("missing_scope")
	product := h.key(domain.Key{Scopes: domain.Scopes()[:7]}) // a platform key, which might else make some for any tenant
	for method, path := range map[string]string{"POST": "/v1/api-keys", "GET": "/v1/api-keys", "DELETE": "/v1/api-keys/" + made.text("id")} {
		if got := h.call(product, method, path, `{"name":"x","tenantId":"tenant-123","scopes":["webhooks.read"]}`).expect(403).refused("missing_scope"); got.text("requiredScope") != "platform.admin" {
			t.Errorf("%s: %s", method, got.body)
		}
	}
	h.call(h.bound, "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"]}`).expect(403).refused("forbidden")
	h.call(h.admin, "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"],"subscriptionId":"sub_none"}`).expect(400).refused("validation_failed", "subscriptionId")
	h.call(h.platform, "POST", "/v1/api-keys", `{"name":"x","tenantId":"nobody","scopes":["webhooks.read"]}`).expect(400).refused("validation_failed", "tenantId")
	for _, empty := range []string{"tenantId", "subscriptionId"} { // whoever sends one meant to name something, and must not get a key for all of them
		h.call(h.platform, "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"],"`+empty+`":""}`).expect(400).refused("validation_failed", empty)
		h.call(h.admin, "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"],"`+empty+`":""}`).expect(400).refused("validation_failed", empty)
	}
	bound := h.call(h.admin, "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"],"subscriptionId":"`+h.subscribe()+`"}`).expect(201)
	if list := h.call(bound.text("key"), "GET", "/v1/subscriptions", "").expect(200); strings.Count(list.body, `"id"`) != 1 {
		t.Errorf("a bound key sees %s", list.body)
	}
}

func TestDirectory(t *testing.T) {
	h := newHarness(t)
	got := h.call(h.platform, "POST", "/v1/directory", `{"customers":[{"ordinavoCustomerId":12,"customerNumber":"RRM-001","name":null}],
		"locations":[{"ordinavoLocationId":34,"name":"Essen Center","city":"Essen","hasCoordinates":true}],"contacts":[{"ordinavoContactId":56,"displayName":"Anna Weber"}],
		"externalIds":[{"sourceSystem":"sap","entityType":"customer","ordinavoId":12,"externalId":"CUST-10042"}]}`, "X-Ordinavo-Tenant", own).expect(200)
	if got.body != `{"upserted":{"customers":1,"locations":1,"contacts":1,"externalIds":1}}` {
		t.Error(got.body)
	}
	for path, body := range map[string]string{
		"/v1/directory/customers/12": `{"ordinavoCustomerId":12,"customerNumber":"RRM-001"}`,
		"/v1/directory/locations/34": `{"ordinavoLocationId":34,"name":"Essen Center","city":"Essen","hasCoordinates":true}`,
		"/v1/directory/contacts/56":  `{"ordinavoContactId":56,"displayName":"Anna Weber"}`,
		"/v1/directory/external-ids?sourceSystem=sap&entityType=customer&ordinavoId=12": `{"sourceSystem":"sap","entityType":"customer","ordinavoId":12,"externalId":"CUST-10042"}`,
	} {
		if got := h.call(h.admin, "GET", path, "").expect(200); got.body != body {
			t.Errorf("%s: %s, want %s", path, got.body, body)
		}
		h.call(h.admin, "DELETE", path, "").expect(204)
		h.call(h.admin, "PUT", strings.Split(path, "?")[0], body).expect(200)
		if got := h.call(h.admin, "GET", path, "").expect(200); got.body != body {
			t.Errorf("%s once written: %s, want %s", path, got.body, body)
		}
		h.call(h.admin, "DELETE", path, "").expect(204)
		h.call(h.admin, "DELETE", path, "").expect(404).refused("not_found")
		h.call(h.admin, "GET", path, "").expect(404).refused("not_found")
	}
	h.call(h.admin, "PUT", "/v1/directory/customers/12", `{"ordinavoCustomerId":13}`).expect(400).refused("validation_failed", "ordinavoCustomerId")
	h.call(h.admin, "PUT", "/v1/directory/customers/12", "{\"name\":\"a\\u0000\"}").expect(400).refused("validation_failed", "name")
}

func TestService(t *testing.T) {
	h := newHarness(t)
	if got := h.call("", "GET", "/healthz", "").expect(200); got.body != `{"status":"ok"}` {
		t.Error(got.body)
	}
	h.call("", "GET", "/readyz", "").expect(200)
	if got := h.call("", "GET", "/metrics", "").expect(200); got.body != "up 1\n" {
		t.Error(got.body)
	}
	h.store.fail = http.ErrServerClosed
	if got := h.call("", "GET", "/readyz", "").expect(503).refused("unavailable"); got.header.Get("Retry-After") == "" || strings.Contains(got.body, "closed") {
		t.Errorf("%v %s", got.header, got.body)
	}
	h.call("", "GET", "/healthz", "").expect(200)
	h.store.fail = fmt.Errorf("%w: %w", problem.New(problem.Unavailable, "The disk is full."), http.ErrServerClosed)
	if got := h.call("", "GET", "/readyz", "").expect(503).refused("unavailable"); !strings.Contains(got.body, "not ready. The disk is full.") || strings.Contains(got.body, "closed") {
		t.Error(got.body)
	}
}

// A probe may add parameters of its own: taken for an error, one would have a load balancer leave out a process that works.
func TestPublicRoutesAllowUnknownParameters(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/asyncapi.json"} {
		h.call("", "GET", path+"?probe=17", "").expect(200)
	}
	h.call(h.admin, "GET", "/v1/event-types?probe=17", "").expect(400).refused("validation_failed", "probe")
}

// A load balancer asks every second: what the database said is in the request's own line, and in no other.
func TestWhyTheServiceIsNotReadyIsLoggedOnce(t *testing.T) {
	h := newHarness(t)
	h.store.fail = http.ErrServerClosed
	h.call("", "GET", "/readyz", "").expect(503)
	if text := h.log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "/readyz") || !strings.Contains(text, http.ErrServerClosed.Error()) {
		t.Errorf("the log has %s", text)
	}
}

func TestEventTypes(t *testing.T) {
	h := newHarness(t)
	if got := h.call(h.bound, "GET", "/v1/event-types", "").expect(200); len(got.json()["data"].([]any)) != 19 || len(got.json()["operational"].([]any)) != 4 {
		t.Error(got.body)
	}
	first := h.call(h.reader, "GET", "/v1/event-types?limit=10", "").expect(200)
	if rest := h.call(h.reader, "GET", "/v1/event-types?limit=10&cursor="+first.text("nextCursor"), "").expect(200); len(rest.json()["data"].([]any)) != 9 || rest.json()["nextCursor"] != nil {
		t.Error(rest.body)
	}
	h.call(h.reader, "GET", "/v1/event-types/visit_report.lost", "").expect(404).refused("not_found")
}

// What is wrong with a body comes in one answer, whether its schema says so or a rule.
func TestAllThatIsWrongWithASubscriptionComesAtOnce(t *testing.T) {
	h := newHarness(t)
	one := "/v1/subscriptions/" + h.subscribe()
	const wrong = `"name":7,"url":"ftp://a.example","eventTypes":["*","visit_report"],"retrySchedule":["soon","100h"],"timeoutSeconds":"10","maxInFlight":0`
	for _, made := range []answer{
		h.call(h.admin, "POST", "/v1/subscriptions", "{"+wrong+"}"), h.call(h.admin, "PATCH", one, "{"+wrong+"}"),
	} {
		got := made.expect(400).refused("validation_failed", "name", "url", "eventTypes[1]", "retrySchedule[0]", "retrySchedule[1]", "timeoutSeconds", "maxInFlight")
		for field, messages := range got.json()["errors"].(map[string]any) {
			if len(messages.([]any)) != 1 {
				t.Errorf("%s is refused by %v", field, messages)
			}
		}
		if n := len(got.json()["errors"].(map[string]any)); n != 7 {
			t.Errorf("%d fields are refused: %s", n, got.body)
		}
	}
	// The form of one and the rule of another, with nothing that the schema refuses.
	got := h.call(h.admin, "PATCH", one, `{"retrySchedule":["soon","1ms"],"url":"ftp://a.example"}`).expect(400)
	got.refused("validation_failed", "retrySchedule[0]", "retrySchedule[1]", "url")
	// What was not sent is not refused, but for what a new one needs.
	got = h.call(h.admin, "POST", "/v1/subscriptions", `{"retrySchedule":["100h"]}`).expect(400)
	got.refused("validation_failed", "name", "url", "eventTypes", "retrySchedule[0]")
	if n := len(h.call(h.admin, "PATCH", one, `{"maxInFlight":0,"payloadOptions":{"summaryPreview":null}}`).expect(400).json()["errors"].(map[string]any)); n != 2 {
		t.Errorf("%d fields are refused, of two", n)
	}
}
