package rest_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/ports/rest"
)

// list is a JSON list of n entries that are alike.
func list(entry string, n int) string { return "[" + strings.Repeat(entry+",", n-1) + entry + "]" }

// costly are bodies with as many wrong values as were once looked at.
var costly = map[string]struct {
	path, body string
	most       uint64 // KiB beyond what it takes to send such a body, which is more when races are watched for
}{
	"scopes":              {"/v1/api-keys", `{"name":"x","scopes":` + list("0", 29_990) + `}`, 1 << 10},
	"most scopes":         {"/v1/api-keys", `{"name":"x","scopes":` + list("0", 990) + `}`, 1 << 10},
	"no complaint":        {"/v1/signature-doctor", list("1.0", 29_990), 1 << 10},
	"entries of a batch":  {"/v1/directory", `{"customers":` + list("1", 29_000) + `}`, 12 << 10},
	"records of a batch":  {"/v1/directory", `{"externalIds":` + list("{}", 14_500) + `}`, 24 << 10},
	"event types":         {"/v1/subscriptions", `{"name":"x","eventTypes":` + list("0", 29_990) + `}`, 1 << 10},
	"names nobody knows":  {"/v1/api-keys", `{` + members(900) + `"name":"x"}`, 1 << 10},
	"statuses to look at": {"/v1/deliveries/retry", `{"statuses":` + list("0", 29_990) + `}`, 1 << 10},
}

// members are of an object, each with a name of its own.
func members(n int) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `"name%d":1,`, i)
	}
	return text.String()
}

// Each wrong value made an error that was kept, named, sorted and joined: 65 ms of CPU for a body of 60 KB.
func TestARefusedBodyCostsLittle(t *testing.T) {
	h := newHarness(t)
	for name, c := range costly {
		h.call(h.admin, "POST", c.path, `{}`) // what is made once
		var got answer
		unread := rest.Allocated(func() { h.call(h.admin, "POST", "/v1/nothing", c.body) })
		if n := rest.Allocated(func() { got = h.call(h.admin, "POST", c.path, c.body) }); n > unread+c.most<<10 {
			t.Errorf("%s: %d KiB, and %d unread", name, n>>10, unread>>10)
		}
		if n := len(got.expect(400).refusedFields()); n == 0 || n > 100 {
			t.Errorf("%s: %d fields", name, n)
		}
	}
	if got := h.call(h.admin, "POST", "/v1/api-keys", costly["most scopes"].body); !strings.Contains(got.body, "faults the first 100 were looked at") {
		t.Error(got.body)
	}
}

func (a answer) refusedFields() map[string][]string {
	a.t.Helper()
	return into[struct{ Errors map[string][]string }](a).Errors
}

// Every list that a route takes says how long it may be.
func TestListsInBodiesAreBounded(t *testing.T) {
	h := newHarness(t)
	var document struct {
		Paths      map[string]map[string]struct{ RequestBody any }
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal([]byte(h.call("", "GET", "/openapi.json", "").body), &document); err != nil {
		t.Fatal(err)
	}
	lists := 0
	var look func(where string, schema any)
	look = func(where string, schema any) {
		switch schema := schema.(type) {
		case []any:
			for _, entry := range schema {
				look(where, entry)
			}
		case map[string]any:
			if name, refers := schema["$ref"].(string); refers {
				look(where, document.Components.Schemas[strings.TrimPrefix(name, "#/components/schemas/")])
			}
			if _, isList := schema["items"]; isList {
				lists++
				if schema["maxItems"] == nil {
					t.Errorf("%s: a list without maxItems: %v", where, schema)
				}
			}
			for name, inner := range schema {
				look(where+" "+name, inner)
			}
		}
	}
	for path, methods := range document.Paths {
		for method, o := range methods {
			look(method+" "+path, o.RequestBody)
		}
	}
	if lists < 8 {
		t.Errorf("%d lists", lists)
	}
}

func BenchmarkRefusedBodies(b *testing.B) {
	processor := func() time.Duration {
		var used syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
			b.Fatal(err)
		}
		return time.Duration(used.Utime.Nano() + used.Stime.Nano())
	}
	for name, c := range costly {
		b.Run(name, func(b *testing.B) {
			h, before := newHarness(&testing.T{}), processor()
			for b.Loop() {
				h.call(h.admin, "POST", c.path, c.body)
			}
			b.ReportMetric(float64((processor()-before).Microseconds())/1000/float64(b.N), "cpu-ms/op")
		})
	}
}
