package rest_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// historyOf makes a subscription and changes it; one version a minute.
func historyOf(h *harness) (path string) {
	h.Helper()
	made := h.call(h.admin, "POST", "/v1/subscriptions", `{"name":"SAP","url":"https://a.example/","eventTypes":["*"]}`).expect(201).json()
	path = "/v1/subscriptions/" + made["id"].(string)
	for _, step := range []struct{ method, path, body string }{
		{"PATCH", "", `{"name":"ERP","payloadOptions":{"customerContext":false}}`},
		{"POST", "/pause", `{"reason":"maintenance"}`},
		{"POST", "/rotate-secret", `{"overlapHours":2}`},
	} {
		h.now = h.now.Add(time.Minute)
		h.call(h.admin, step.method, path+step.path, step.body).expect(200)
	}
	return path
}

func TestHistory(t *testing.T) {
	h := newHarness(t)
	path := historyOf(h)
	first := h.call(h.reader, "GET", path+"/history?limit=2", "").expect(200)
	for _, want := range []string{
		`"version":5,"change":"secret_rotation_started"`, `{"field":"secret","before":"whsec_***","after":"whsec_***"}`,
		`"version":4,"change":"paused","summary":"It was paused: events are parked from now on. The reason: maintenance.","at":"2026-06-18T17:02:00Z"`,
		`"keyName":"k"`, `"traceId":"4bf92f3577b34da6a3ce929d0e0e4736"`, `{"field":"status","before":"active","after":"paused"}`,
		`{"field":"statusReason","before":null,"after":"maintenance"}`, `{"field":"secretRotation.overlapEnd","before":null,"after":"2026-06-18T19:03:00Z"}`,
		fmt.Sprintf(`"link":"%s?version=4"`, path),
	} {
		if !strings.Contains(first.body, want) {
			t.Errorf("no %s in %s", want, first.body)
		}
	}
	second := h.call(h.reader, "GET", path+"/history?cursor="+first.json()["nextCursor"].(string), "").expect(200)
	for _, want := range []string{
		`"version":3,"change":"options_changed"`, `"fields":[{"field":"payloadOptions.customerContext","before":true,"after":false}]`,
		`"version":2,"change":"endpoint_changed"`, `"fields":[{"field":"name","before":"SAP","after":"ERP"}]`,
		`"featureGated":[{"feature":"billing_webhooks","events":3,"firstAcceptedAt":"2026-06-18T17:30:00Z"`,
		`"version":1,"change":"created"`, `{"field":"secret","before":null,"after":"whsec_***"}`, `"nextCursor":null`,
	} {
		if !strings.Contains(second.body, want) {
			t.Errorf("no %s in %s", want, second.body)
		}
	}
	for name, key := range map[string]string{"another tenant's": h.other, "bound to another": h.bound} {
		if got := h.call(key, "GET", path+"/history", ""); got.status != http.StatusNotFound {
			t.Errorf("%s key gets %d: %s", name, got.status, got.body)
		}
	}
}

func TestTimeTravel(t *testing.T) {
	h := newHarness(t)
	path := historyOf(h)
	h.call(h.admin, "DELETE", path, "").expect(204)
	for query, want := range map[string]string{
		"at=2026-06-18T17:00:00Z": `"name":"SAP"`, "at=2026-06-18T17:01:59.9Z": `"name":"ERP"`, "at=2026-06-18T17:02:30Z": `"status":"paused"`,
		"version=1": `"version":1`, "version=5": `"secretRotation":{"overlapEnd":"2026-06-18T19:03:00Z"}`,
	} {
		if got := h.call(h.reader, "GET", path+"?"+query, "").expect(200); !strings.Contains(got.body, want) || got.header.Get("ETag") == "" {
			t.Errorf("%s: no %s in %s", query, want, got.body)
		}
	}
	for query, status := range map[string]int{
		"at=2026-06-18T16:59:59Z": 404, "at=2026-06-18T17:03:00Z": 404, "at=2026-06-18T18:00:00Z": 400, "version=6": 404, "version=7": 404, "version=0": 400,
		"version=-1": 400, "at=yesterday": 400, "version=1&at=2026-06-18T17:00:00Z": 400, "": 404,
	} {
		if got := h.call(h.reader, "GET", path+"?"+query, ""); got.status != status {
			t.Errorf("%s: got %d: %s", query, got.status, got.body)
		}
	}
	h.call(h.other, "GET", path+"?version=1", "").expect(404)
	h.call(h.bound, "GET", path+"?at=2026-06-18T17:00:00Z", "").expect(404)
}
