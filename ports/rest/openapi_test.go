package rest_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/event"
)

type document struct {
	OpenAPI string                       `json:"openapi"`
	Info    struct{ Description string } `json:"info"`
	Paths   map[string]map[string]struct {
		OperationID string                    `json:"operationId"`
		Summary     string                    `json:"summary"`
		Description string                    `json:"description"`
		Tags        []string                  `json:"tags"`
		Security    *[]map[string][]string    `json:"security"`
		Parameters  []struct{ Name string }   `json:"parameters"`
		Responses   map[string]map[string]any `json:"responses"`
		RequestBody *struct {
			Content map[string]struct {
				Example json.RawMessage `json:"example"`
				Schema  json.RawMessage `json:"schema"`
			} `json:"content"`
		} `json:"requestBody"`
	} `json:"paths"`
	Components struct {
		Schemas   map[string]json.RawMessage `json:"schemas"`
		Headers   map[string]map[string]any  `json:"headers"`
		Responses map[string]struct {
			Description string                    `json:"description"`
			Headers     map[string]map[string]any `json:"headers"`
			Content     json.RawMessage           `json:"content"`
		} `json:"responses"`
	} `json:"components"`
}

func (h *harness) document() (d document) {
	h.Helper()
	if err := json.Unmarshal([]byte(h.call("", "GET", "/openapi.json", "").expect(200).body), &d); err != nil {
		h.Fatal(err)
	}
	return d
}

// huma's own word for a pattern is for its messages: a tool that knows the keywords of JSON Schema refuses a document with others.
func TestTheDocumentHasNoKeywordOfHumasOwn(t *testing.T) {
	h := newHarness(t)
	if document := h.call("", "GET", "/openapi.json", "").expect(200).body; strings.Contains(document, "patternDescription") {
		t.Error("the document has patternDescription")
	}
	if got := h.call(h.admin, "GET", "/v1/deliveries?subscriptionId=x", "").expect(400); !strings.Contains(got.body, "an id that begins with sub_") {
		t.Error(got.body)
	}
	if got := h.call(h.admin, "POST", "/v1/deliveries/retry", `{"eventId": "x"}`).expect(400); !strings.Contains(got.body, "an id that begins with evt_") {
		t.Error(got.body)
	}
}

// The documents are encoded when they are first asked for: by several at once, and while requests are checked against their schemas.
func TestDocumentsAreEncodedBesideRequests(t *testing.T) {
	h := newHarness(t)
	var group sync.WaitGroup
	begin := make(chan struct{})
	bodies := make([][2]string, 16)
	for i := range bodies {
		group.Go(func() {
			<-begin
			bodies[i] = [2]string{h.call("", "GET", "/openapi.json", "").expect(200).body, h.call("", "GET", "/asyncapi.json", "").expect(200).body}
		})
		group.Go(func() {
			<-begin
			h.call(h.admin, "POST", "/v1/subscriptions", `{"name":"SAP","url":"https://erp.example.com/hook","eventTypes":["*"]}`).expect(201)
			h.call(h.admin, "GET", "/v1/deliveries?limit=nine", "").expect(400)
		})
	}
	close(begin)
	group.Wait()
	for i, body := range bodies {
		if body != bodies[0] || body[0] == "" {
			t.Errorf("the documents of caller %d differ from the first one's", i)
		}
	}
}

func TestDocument(t *testing.T) {
	d := newHarness(t).document()
	if d.OpenAPI != "3.1.0" || len(d.Components.Schemas) == 0 {
		t.Fatalf("openapi %s with %d schemas", d.OpenAPI, len(d.Components.Schemas))
	}
	seen, operations := map[string]bool{}, 0
	for path, methods := range d.Paths {
		for method, o := range methods {
			operations++
			name := method + " " + path
			if o.OperationID == "" || seen[o.OperationID] || o.Summary == "" || len(o.Tags) != 1 {
				t.Errorf("%s: id %q (known %t), summary %q, tags %v", name, o.OperationID, seen[o.OperationID], o.Summary, o.Tags)
			}
			seen[o.OperationID] = true
			public := !strings.HasPrefix(path, "/v1/")
			if o.Security == nil || public != (len(*o.Security) == 0) {
				t.Errorf("%s: security %v", name, o.Security)
			}
			statuses := []string{"400", "500", "503"}
			if !public {
				statuses = append(statuses, "401", "403", "429")
			}
			keeps := method != "get" && !looksOnly[o.OperationID]
			if method != "get" {
				statuses = append(statuses, "409", "413")
			}
			if takesKey := strings.Contains(string(mustJSON(t, o.Parameters)), "Idempotency-Key"); takesKey != keeps {
				t.Errorf("%s: an Idempotency-Key %t", name, takesKey)
			}
			for _, status := range statuses {
				ref, _ := o.Responses[status]["$ref"].(string)
				shared := d.Components.Responses[strings.TrimPrefix(ref, "#/components/responses/")]
				if string(shared.Content) != `{"application/problem+json":{"schema":{"$ref":"#/components/schemas/Problem"}}}` || shared.Headers["X-RateLimit-Limit"] == nil ||
					(shared.Headers["Idempotency-Replayed"] != nil) != (keeps && strings.Contains("400 403 404 409 413", status)) {
					t.Errorf("%s: %s is no problem: %s %s", name, status, mustJSON(t, o.Responses[status]), shared.Content)
				}
			}
			if o.Responses["422"] != nil {
				t.Errorf("%s: documents 422, which is never sent", name)
			}
		}
	}
	if operations != 60 {
		t.Errorf("%d operations, want 60: has a route come or gone?", operations)
	}
}

// looksOnly are the operations that change nothing although their method is not GET.
var looksOnly = map[string]bool{"previewEvent": true, "previewSubscription": true, "examineSignature": true}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	encoded, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// Client generators make a type of a name. Of a choice without one, the best known for Go lost what was in it and sent an empty object.
func TestBodiesHaveNames(t *testing.T) {
	bodies := 0
	for path, methods := range newHarness(t).document().Paths {
		for method, o := range methods {
			if o.RequestBody == nil {
				continue
			}
			bodies++
			if schema := o.RequestBody.Content["application/json"].Schema; !strings.HasPrefix(string(schema), `{"$ref":`) {
				t.Errorf("%s %s takes %s", method, path, schema)
			}
		}
	}
	if bodies < 15 {
		t.Errorf("%d bodies", bodies)
	}
}

// Every example of the document is one that the service takes.
func TestExamplesWork(t *testing.T) {
	h := newHarness(t)
	sent := 0
	for path, methods := range h.document().Paths {
		for method, o := range methods {
			if o.RequestBody == nil {
				continue
			}
			example := o.RequestBody.Content["application/json"].Example
			if example == nil {
				t.Errorf("%s %s has a body and no example", method, path)
				continue
			}
			if path == "/v1/tenants" {
				example = []byte(strings.Replace(string(example), own, "tenant-fresh", 1))
			}
			if lines := o.RequestBody.Content["application/x-ndjson"].Example; path == "/v1/events" {
				var body string
				if err := json.Unmarshal(lines, &body); err != nil {
					t.Fatal(err)
				}
				h.call(h.platform, "POST", path, body, "X-Ordinavo-Tenant", own, "Content-Type", "application/x-ndjson").expect(202)
			}
			path := strings.NewReplacer("{subscriptionId}", h.subscribe(), "{tenantId}", own, "{feature}", "billing_webhooks", "{id}", "12").Replace(path)
			got := h.call(h.platform, strings.ToUpper(method), path, string(example), "X-Ordinavo-Tenant", own)
			if got.status < 200 || got.status > 299 {
				t.Errorf("%s %s with %s: %d %s", method, path, example, got.status, got.body)
			}
			sent++
		}
	}
	if sent < 10 {
		t.Errorf("only %d examples were sent", sent)
	}
}

// The example of each type satisfies the schema of each type, and no other type's.
func TestBodySchemas(t *testing.T) {
	h := newHarness(t)
	for _, eventType := range event.AllTypes() {
		got := h.call(h.reader, "GET", "/v1/event-types/"+string(eventType), "").expect(http.StatusOK)
		var detail struct {
			EventType string          `json:"eventType"`
			Example   map[string]any  `json:"example"`
			Schema    json.RawMessage `json:"schema"`
		}
		if err := json.Unmarshal([]byte(got.body), &detail); err != nil {
			t.Fatal(err)
		}
		if detail.EventType != string(eventType) || detail.Example["eventType"] != string(eventType) {
			t.Errorf("%s: %s", eventType, got.body)
		}
		if problems := check(t, detail.Schema, detail.Example); len(problems) > 0 {
			t.Errorf("%s: %v", eventType, problems)
		}
		if known := properties(t, detail.Schema); !known["eventId"] || known["billingEvent"] != (eventType.Family() == event.FamilyBilling) || known["customer"] != eventType.HasCustomerContext() {
			t.Errorf("%s: properties %v", eventType, known)
		}
		for key := range detail.Example {
			if !properties(t, detail.Schema)[key] {
				t.Errorf("%s: the schema does not know %s", eventType, key)
			}
		}
		delete(detail.Example, "payloadVersion")
		if problems := check(t, detail.Schema, detail.Example); len(problems) == 0 {
			t.Errorf("%s: the schema takes a body without payloadVersion", eventType)
		}
	}
}

func properties(t *testing.T, encoded json.RawMessage) map[string]bool {
	t.Helper()
	var schema struct{ Properties map[string]any }
	if err := json.Unmarshal(encoded, &schema); err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for name := range schema.Properties {
		known[name] = true
	}
	return known
}

// check validates a body with the published schema, not with the code that made it.
func check(t *testing.T, encoded json.RawMessage, value any) []error {
	t.Helper()
	var decoded any
	if err := json.Unmarshal(encoded, &decoded); err != nil {
		t.Fatal(err)
	}
	return (&validator{}).validate("", decoded.(map[string]any), value)
}

// validator knows as much of JSON Schema as the bodies' schemas use.
type validator struct{ errors []error }

func (v *validator) validate(path string, schema map[string]any, value any) []error {
	fail := func(what string) { v.errors = append(v.errors, fmt.Errorf("%s %s: %v", path, what, value)) }
	if alternatives, ok := schema["anyOf"].([]any); ok {
		for _, alternative := range alternatives {
			if len((&validator{}).validate(path, alternative.(map[string]any), value)) == 0 {
				return v.errors
			}
		}
		fail("matches no alternative")
		return v.errors
	}
	if !allows(schema["type"], value) {
		fail("is of the wrong type")
		return v.errors
	}
	if enum, ok := schema["enum"].([]any); ok && enum[0] != value {
		fail("is another value")
	}
	object, isObject := value.(map[string]any)
	if !isObject {
		return v.errors
	}
	for _, required := range schema["required"].([]any) {
		if _, ok := object[required.(string)]; !ok {
			fail(required.(string) + " is missing")
		}
	}
	for name, property := range schema["properties"].(map[string]any) {
		if member, ok := object[name]; ok {
			v.validate(path+"."+name, property.(map[string]any), member)
		}
	}
	return v.errors
}

func allows(types, value any) bool {
	if list, ok := types.([]any); ok {
		for _, one := range list {
			if allows(one, value) {
				return true
			}
		}
		return false
	}
	switch value.(type) {
	case nil:
		return types == "null"
	case string:
		return types == "string"
	case bool:
		return types == "boolean"
	case float64:
		return types == "integer" || types == "number"
	default:
		return types == "object"
	}
}

// What a tenant's admin has to choose, or finds, says what it is. A receiver that takes so many at once and no more needs to know by how many
// processes to divide; an option sends personal data, or a report's text; and what is parked is waited for in vain.
func TestFieldsSayWhatTheyAre(t *testing.T) {
	h := newHarness(t)
	var document struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct{ Description string }
			}
		}
	}
	if err := json.Unmarshal([]byte(h.call("", "GET", "/openapi.json", "").expect(200).body), &document); err != nil {
		t.Fatal(err)
	}
	says := func(field, want string, schemas ...string) {
		for _, name := range schemas {
			if about := document.Components.Schemas[name].Properties[field].Description; !strings.Contains(about, want) {
				t.Errorf("%s of %s lacks %q: %s", field, name, want, about)
			}
		}
	}
	says("maxInFlight", "in each process", "NewSubscription", "SubscriptionPatch", "Subscription")
	says("sourceSystem", "external IDs", "NewSubscription", "SubscriptionPatch", "Subscription")
	for option, want := range map[string]string{"customerContext": "Adds customer", "contactDetails": "Adds contact", "summaryPreview": "free text", "billingDetails": "Adds billingEvent"} {
		says(option, want, "NewOptions", "PayloadOptions")
	}
	for _, status := range []string{"retrying", "parked", "dead_letter", "cancelled"} {
		says("status", status, "Delivery", "DeliveryDetail")
	}
	says("data", "same order", "EventTypeList") // which knows no newest
}

// Whoever gave a receiver the new secret at once, and had it check X-Ordinavo-Signature, had it refuse everything until the overlap ended.
func TestARotationSaysWhichSecretSignsWhat(t *testing.T) {
	paths := newHarness(t).document().Paths
	for _, path := range []string{"/rotate-secret", "/rotate-secret/complete"} {
		description := paths["/v1/subscriptions/{subscriptionId}"+path]["post"].Description
		for _, header := range []string{"X-Ordinavo-Signature", "webhook-signature"} {
			if !strings.Contains(description, header) {
				t.Errorf("%s does not say what becomes of %s: %q", path, header, description)
			}
		}
	}
}

// Who followed deliveries for all tenants by one platform key met a bound that was written nowhere.
func TestHowOftenAKeyMayListenIsSaid(t *testing.T) {
	paths := newHarness(t).document().Paths
	for _, path := range []string{"/v1/deliveries/stream", "/v1/subscriptions/{subscriptionId}/events"} {
		if about := paths[path]["get"].Description; !strings.Contains(about, fmt.Sprintf("%d times in one process", live.MostPerKey)) {
			t.Errorf("%s does not say it: %s", path, about)
		}
	}
}

// Who put as many events into a request as it takes met a bound that was written nowhere.
func TestHowLargeARequestMayBeIsSaid(t *testing.T) {
	h := newHarness(t)
	about := h.document().Info.Description
	for said, c := range map[string]struct {
		path string
		size int
	}{"8 MiB at /v1/events": {"/v1/events", 8<<20 + 1}, "2 MiB at /v1/signature-doctor": {"/v1/signature-doctor", 2 << 20}, "1 MiB elsewhere": {"/v1/tenants", 1 << 20}} {
		if !strings.Contains(about, said) {
			t.Errorf("it lacks %q: %s", said, about)
		}
		if got := h.call(h.platform, "POST", c.path, "{}"+strings.Repeat(" ", c.size-4), "X-Ordinavo-Tenant", string(own)); got.status == http.StatusRequestEntityTooLarge {
			t.Errorf("%s takes less: %s", c.path, got.body)
		}
		h.call(h.platform, "POST", c.path, "{}"+strings.Repeat(" ", c.size-2), "X-Ordinavo-Tenant", string(own)).expect(http.StatusRequestEntityTooLarge)
	}
}

// With a hundred subscriptions the question for a day, which is the default, was refused by a bound that was written nowhere.
func TestHowMuchIsCountedAtOnceIsSaid(t *testing.T) {
	about := newHarness(t).document().Paths["/v1/metrics/deliveries"]["get"].Description
	for _, bound := range []string{"2,000 intervals", fmt.Sprintf("more than %d", metrics.MaxCells), "one subscription"} {
		if !strings.Contains(about, bound) {
			t.Errorf("it lacks %q: %s", bound, about)
		}
	}
}

// The description promised that browsers come back by themselves, and kept from whoever built a page on that that it cannot send the key.
func TestTheStreamSaysThatNoBrowserHasTheKey(t *testing.T) {
	about := newHarness(t).document().Paths["/v1/deliveries/stream"]["get"].Description
	if !strings.Contains(about, "EventSource") || !strings.Contains(about, "cannot send the API key") {
		t.Errorf("it says: %s", about)
	}
}
