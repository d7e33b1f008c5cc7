package rest_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// odd are values of every type, and of those that can be no key of a map.
func odd() []any {
	list, object := []any{}, map[string]any{}
	return []any{nil, true, -1.5, 1e15, "", "x", "\x00", list, object, []any{list}, []any{object}, []any{nil, nil}, []any{"x", "x"},
		[]any{[]any{1}, []any{1}}, map[string]any{"a": object}, map[string]any{"": list}}
}

// takesBody is an operation with a body, and a body that it takes.
type takesBody struct {
	method, path string
	example      any
}

// operationsWithBody reads them from the API's own description.
func (h *harness) operationsWithBody() (all []takesBody) {
	h.Helper()
	var document struct {
		Paths map[string]map[string]struct {
			RequestBody *struct {
				Content map[string]struct{ Example any }
			}
		}
	}
	if err := json.Unmarshal([]byte(h.call("", "GET", "/openapi.json", "").body), &document); err != nil {
		h.Fatal(err)
	}
	path := strings.NewReplacer("{subscriptionId}", h.subscribe(), "{tenantId}", own, "{id}", "12", "{feature}", "billing_webhooks", "{deliveryId}", "dlv_1", "{jobId}", "job_1", "{eventId}", "evt_1")
	for _, route := range slices.Sorted(maps.Keys(document.Paths)) {
		for _, method := range slices.Sorted(maps.Keys(document.Paths[route])) {
			if body := document.Paths[route][method].RequestBody; body != nil {
				all = append(all, takesBody{strings.ToUpper(method), path.Replace(route), body.Content["application/json"].Example})
			}
		}
	}
	if len(all) < 15 {
		h.Fatalf("%d operations take a body", len(all))
	}
	return all
}

// oddBodies are bodies with an odd value in each place.
func oddBodies(example any) []any {
	bodies := odd()
	switch example := example.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(example)) {
			for _, inner := range oddBodies(example[name]) {
				body := maps.Clone(example)
				body[name] = inner
				bodies = append(bodies, body)
			}
		}
	case []any:
		for i := range example {
			for _, inner := range oddBodies(example[i]) {
				body := slices.Clone(example)
				body[i] = inner
				bodies = append(bodies, body)
			}
		}
	}
	return bodies
}

// No body, whatever it is made of, makes the service fail: who sent it is told what is wrong with it.
func FuzzBodies(f *testing.F) {
	h := newHarness(&testing.T{})
	operations := h.operationsWithBody()
	for i, o := range operations {
		for _, body := range oddBodies(o.example) {
			encoded, err := json.Marshal(body)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(byte(i), string(encoded))
		}
	}
	f.Fuzz(func(t *testing.T, which byte, body string) {
		h := &harness{T: t, api: h.api, platform: h.platform}
		o := operations[int(which)%len(operations)]
		got := h.call(h.platform, o.method, o.path, body, "X-Ordinavo-Tenant", own)
		if got.status >= 500 {
			t.Errorf("%s %s %s: status %d: %s", o.method, o.path, body, got.status, got.body)
		}
	})
}

// Whoever looks for the keys that a stolen one has made finds them in the log.
func TestTheLogTellsWhoMadeAKey(t *testing.T) {
	h := newHarness(t)
	made := h.call(h.admin, "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"]}`).expect(201)
	maker := strings.TrimPrefix(h.admin, "ord_live_")
	if log := h.log.String(); !strings.Contains(log, `"level":"INFO","msg":"API key made","keyId":"`+maker+`","newKeyId":"`+made.text("id")+`","tenantId":"tenant-123"`) ||
		strings.Contains(log, made.text("key")) {
		t.Error(log)
	}
	h.log.Reset()
	h.call(h.admin, "POST", "/v1/api-keys", `{"name":"x","scopes":["platform.admin"]}`).expect(400)
	if log := h.log.String(); strings.Contains(log, "API key made") {
		t.Error(log)
	}
}

func TestScopesAreThereOnce(t *testing.T) {
	h := newHarness(t)
	make := func(scopes string) answer {
		return h.call(h.admin, "POST", "/v1/api-keys", `{"name":"x","scopes":`+scopes+`}`)
	}
	for _, twice := range []string{`["webhooks.read","webhooks.read"]`, `["webhooks.read","webhooks.manage","webhooks.read"]`} {
		if got := make(twice).expect(400).refused("validation_failed", "scopes"); !strings.Contains(got.body, `"scopes":["expected array items to be unique"]`) {
			t.Error(got.body)
		}
	}
	for _, odd := range []string{`[{}]`, `[{},{}]`, `[[]]`, `[null]`, `["webhooks.read",{"a":[]}]`} {
		make(odd).expect(400).refused("validation_failed", "scopes["+fmt.Sprint(strings.Count(odd, ",{\"a"))+"]")
	}
	h.call(h.admin, "POST", "/v1/api-keys", `{"scopes":["webhooks.read","webhooks.read"]}`).expect(400).refused("validation_failed", "scopes", "name")
	make(`["webhooks.read","webhooks.manage"]`).expect(201)
	if document := h.call("", "GET", "/openapi.json", "").body; !strings.Contains(document, `"uniqueItems":true`) {
		t.Error("the description no longer says that the scopes are unique")
	}
}
