package e2e_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// The page and the documents come from the binary itself, to anyone.
func TestDocumentsAreServed(t *testing.T) {
	t.Parallel()
	anyone := api{t: t, url: sharedService(t).url}
	page := anyone.get("/docs").want(http.StatusOK)
	if policy := page.header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none';") || !bytes.Contains(page.body, []byte("<noscript>")) {
		t.Errorf("policy %q of\n%s", policy, page.body)
	}
	if got := into[struct{ AsyncAPI string }](anyone.get("/asyncapi.json").want(http.StatusOK)); got.AsyncAPI != "3.0.0" {
		t.Errorf("AsyncAPI %q", got.AsyncAPI)
	}
}

// What a receiver gets of each of the 19 types, and of a sample, has the body and the headers of the document's webhooks, and no other header of
// the service's own.
func TestRequestsAreAsTheWebhooksSay(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, hook := newTenant(t, s), receive(t, nil)
	acme.do(http.MethodPut, "/v1/tenants/"+acme.id+"/features/billing_webhooks", object{"enabled": true}).want(http.StatusOK)
	sub := acme.subscribe(hook, "*", object{"payloadOptions": object{"billingDetails": true, "summaryPreview": true}})
	document := into[object](acme.get("/openapi.json").want(http.StatusOK))
	webhooks := document["webhooks"].(object)
	for name := range webhooks {
		if !strings.HasPrefix(name, "ordinavo.") { // which the service alone sends
			acme.emit(withEveryBlock(acme, name))
		}
	}
	compiler := compilerOf(t, document)
	for _, got := range hook.wait(19) {
		isAsDocumented(t, document, compiler, got)
	}
	hook.exactly(19)
	acme.post("/v1/subscriptions/"+sub.ID+"/test", nil).want(http.StatusOK)
	isAsDocumented(t, document, compiler, hook.exactly(20)[19])
}

func isAsDocumented(t *testing.T, document object, compiler *jsonschema.Compiler, got arrival) {
	t.Helper()
	name := got.header.Get("X-Ordinavo-Event-Type")
	webhook, ok := document["webhooks"].(object)[name].(object)
	if !ok {
		t.Fatalf("there is no webhook %q", name)
	}
	checkAgainst(t, compiler, pointer("webhooks", name, "post", "requestBody", "content", "application/json", "schema"), name, got.body)
	checkSentHeaders(t, document, webhook["post"].(object)["parameters"].([]any), got.header)
}

func withEveryBlock(n tenant, eventType string) object {
	return n.visit(eventType, object{
		"billingEvent": object{"id": 77, "status": "Ready", "sourceType": "VisitReport", "visitReportId": 901, "createdAtUtc": "2026-06-18T17:00:00Z"},
		"appointment":  object{"id": 678, "title": "Maintenance visit", "status": "Scheduled", "scheduledStart": "2026-06-18T14:00:00Z"},
		"followUp":     object{"id": 7, "reason": "Filter must be replaced", "dueDate": "2026-07-02", "targetId": 455},
	})
}

func compilerOf(t *testing.T, document any) *jsonschema.Compiler {
	t.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource(documentName, document); err != nil {
		t.Fatal(err)
	}
	return compiler
}

func checkAgainst(t *testing.T, compiler *jsonschema.Compiler, at, name string, text []byte) {
	t.Helper()
	schema, err := compiler.Compile(documentName + at)
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		t.Errorf("%s: %v\n%s", name, err, text)
	}
}

// checkSentHeaders allows those of HTTP itself beside the documented ones.
func checkSentHeaders(t *testing.T, document object, parameters []any, sent http.Header) {
	t.Helper()
	rest := sent.Clone()
	for _, each := range parameters {
		p := (generator{root: document}).resolve(each)
		name := p["name"].(string)
		if p["required"] != true && len(sent.Values(name)) == 0 {
			continue
		}
		if len(sent.Values(name)) != 1 {
			t.Errorf("%s: got %q", name, sent.Values(name))
			continue
		}
		checkAgainst(t, compilerOf(t, p["schema"]), "", name, encoded(sent.Get(name)))
		rest.Del(name)
	}
	for _, name := range []string{"Content-Type", "Content-Length", "Accept-Encoding", "Connection"} {
		rest.Del(name)
	}
	if len(rest) > 0 {
		t.Errorf("not in the document: %v", rest)
	}
}
