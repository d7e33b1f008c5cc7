package rest_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
)

// webhookItem is a webhook of the OpenAPI document.
type webhookItem struct {
	Post struct {
		OperationID, Summary, Description string
		Parameters                        []json.RawMessage
		RequestBody                       struct {
			Required bool
			Content  map[string]struct {
				Example json.RawMessage
				Schema  struct {
					Ref string `json:"$ref"`
				}
			}
		}
		Responses map[string]struct{ Description string }
	}
}

type parameter struct {
	Name, In, Description, Example string
	Required                       bool
	Schema                         json.RawMessage
}

// webhooksOf is the document's webhooks and header parameters.
func webhooksOf(t *testing.T, h *harness) (items map[string]webhookItem, shared map[string]json.RawMessage) {
	t.Helper()
	var d struct {
		Webhooks   map[string]webhookItem
		Components struct{ Parameters map[string]json.RawMessage }
	}
	if err := json.Unmarshal([]byte(h.call("", "GET", "/openapi.json", "").expect(200).body), &d); err != nil {
		t.Fatal(err)
	}
	return d.Webhooks, d.Components.Parameters
}

// compilerOf knows a document as document.json, and asserts formats.
func compilerOf(t *testing.T, document string) *jsonschema.Compiler {
	t.Helper()
	content, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("document.json", content); err != nil {
		t.Fatal(err)
	}
	return compiler
}

func compile(t *testing.T, compiler *jsonschema.Compiler, reference string) *jsonschema.Schema {
	t.Helper()
	schema, err := compiler.Compile("document.json" + reference)
	if err != nil {
		t.Fatalf("%s: %v", reference, err)
	}
	return schema
}

func valid(schema *jsonschema.Schema, body []byte) error {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// Contract, section 4.
var sentHeaders = []string{
	"User-Agent", "X-Ordinavo-Event-Id", "X-Ordinavo-Event-Type", "X-Ordinavo-Delivery-Id", "X-Ordinavo-Timestamp", "X-Ordinavo-Signature",
	"X-Ordinavo-Webhook-Version", "webhook-id", "webhook-timestamp", "webhook-signature", "traceparent",
}

// sampleHeader tells a sample from what happened, so receivers must hear of it.
const sampleHeader = "X-Ordinavo-Test"

func TestWebhooksOfTheDocument(t *testing.T) {
	h := newHarness(t)
	items, shared := webhooksOf(t, h)
	compiler := compilerOf(t, h.call("", "GET", "/openapi.json", "").body)
	known := map[string]bool{}
	for _, methods := range h.document().Paths {
		for _, o := range methods {
			known[o.OperationID] = true
		}
	}
	if len(items) != 19+4 {
		t.Errorf("%d webhooks", len(items))
	}
	for _, eventType := range event.AllTypes() {
		post := items[string(eventType)].Post
		if post.OperationID == "" || known[post.OperationID] || post.Summary != eventType.Description() || !post.RequestBody.Required {
			t.Errorf("%s: %+v", eventType, post)
		}
		known[post.OperationID] = true
		for _, status := range []string{"2XX", "410", "default"} {
			if post.Responses[status].Description == "" {
				t.Errorf("%s does not say what becomes of %s", eventType, status)
			}
		}
		content := post.RequestBody.Content["application/json"]
		if err := valid(compile(t, compiler, content.Schema.Ref), content.Example); err != nil {
			t.Errorf("%s: %v in %s", eventType, err, content.Example)
		}
		checkHeaders(t, string(eventType), post.Parameters, shared, content.Example)
	}
}

// checkHeaders wants the headers of the contract, with examples that are true of the example body.
func checkHeaders(t *testing.T, eventType string, references []json.RawMessage, shared map[string]json.RawMessage, body []byte) {
	t.Helper()
	example, names := map[string]string{}, []string{}
	for _, encoded := range references {
		p := resolved(t, encoded, shared)
		names, example[p.Name] = append(names, p.Name), p.Example
		quoted := mustJSON(t, p.Example)
		if err := valid(compile(t, compilerOf(t, string(p.Schema)), ""), quoted); err != nil || p.In != "header" || p.Required == (p.Name == sampleHeader) || p.Description == "" {
			t.Errorf("%s, %s: %v: %+v", eventType, p.Name, err, p)
		}
	}
	if want := append(slices.Clone(sentHeaders), sampleHeader); !slices.Equal(names, want) {
		t.Errorf("%s: got %v, want %v", eventType, names, want)
	}
	if example["X-Ordinavo-Event-Type"] != eventType {
		t.Errorf("%s: the header says %s", eventType, example["X-Ordinavo-Event-Type"])
	}
}

func resolved(t *testing.T, encoded json.RawMessage, shared map[string]json.RawMessage) (p parameter) {
	t.Helper()
	var reference struct {
		Ref string `json:"$ref"`
	}
	for range 2 {
		if err := json.Unmarshal(encoded, &reference); err != nil {
			t.Fatal(err)
		}
		if reference.Ref != "" {
			encoded = shared[strings.TrimPrefix(reference.Ref, "#/components/parameters/")]
		}
	}
	if err := json.Unmarshal(encoded, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

// A receiver whose answer went on after its 2xx got the event again and again: the body of the answer did not matter, it was told.
func TestAnAnswerHasToBeComplete(t *testing.T) {
	h := newHarness(t)
	items, _ := webhooksOf(t, h)
	for name, item := range items {
		if answer := item.Post.Responses["2XX"].Description; !strings.Contains(answer, "the whole answer") || !strings.Contains(item.Post.Description, "complete within the timeout") {
			t.Errorf("%s: %q, %q", name, answer, item.Post.Description)
		}
	}
	if async := h.call("", "GET", "/asyncapi.json", "").expect(200).body; !strings.Contains(async, "complete within the timeout takes the event") || len(items) == 0 {
		t.Error("the AsyncAPI document does not say it, or there are no webhooks")
	}
}

// The example signatures are real ones, and the document has their secret: whoever writes a receiver can check their own code with them.
func TestExampleSignatures(t *testing.T) {
	h := newHarness(t)
	document := asyncDocument(t, h)
	key, err := secret.Parse(regexp.MustCompile(`whsec_[A-Za-z0-9+/]+=*`).FindString(document.Info.Description))
	if err != nil {
		t.Fatalf("the document does not say which secret they are made with: %v", err)
	}
	for name, m := range document.Components.Messages {
		headers, body := m.Examples[0].Headers, m.Examples[0].Payload
		if err := signature.VerifyBody(headers["X-Ordinavo-Signature"], body, key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		at := exampleTime(t, headers)
		if err := signature.VerifyStandard(headers["webhook-id"], headers["webhook-timestamp"], headers["webhook-signature"], body, at, 0, key); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
