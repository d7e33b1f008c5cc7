package rest_test

import (
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/application/fanout"
)

// An event that was set aside is found by a filter, says why, and is retried once; then it says by whom.
func TestAnEventThatWasSetAsideIsRetried(t *testing.T) {
	h := withDeliveries(t)
	h.store.accepted[1].SetAside = &fanout.SetAside{Tenant: own, EventID: "evt_2", Reason: "it panicked: \x1b[31m", At: h.now}
	aside := `"setAside":{"reason":"it panicked: \u001b[31m","at":"2026-06-18T17:00:00Z"},"retried":null`
	for _, path := range []string{"/v1/events?setAside=true", "/v1/events/evt_2"} {
		if got := h.call(h.admin, "GET", path, "").expect(200); !strings.Contains(got.body, aside) {
			t.Errorf("%s lacks %s: %s", path, aside, got.body)
		}
	}
	if ids := h.walk("/v1/events?setAside=true&limit=1", "eventId"); strings.Join(ids, " ") != "evt_2" {
		t.Errorf("set aside: %v", ids)
	}
	first := h.call(h.admin, "GET", "/v1/events?limit=1", "").expect(200).json()["nextCursor"].(string)
	h.call(h.admin, "GET", "/v1/events?setAside=true&limit=1&cursor="+first, "").expect(400).refused("validation_failed")

	h.call(h.other, "POST", "/v1/events/evt_2/retry", "").expect(404).refused("not_found")
	h.call(h.bound, "POST", "/v1/events/evt_2/retry", "").expect(403).refused("forbidden")
	h.call(h.reader, "POST", "/v1/events/evt_2/retry", "").expect(403).refused("missing_scope")
	h.call(h.admin, "POST", "/v1/events/evt_1/retry", "").expect(409).refused("conflict")
	got := h.call(h.admin, "POST", "/v1/events/evt_2/retry", "", "Idempotency-Key", "retry-2").expect(202)
	for _, want := range []string{`"eventId":"evt_2"`, `"setAside":null,"retried":{"at":"2026-06-18T17:00:00Z","by":{"keyId":"key_`, `"keyName":"k"}}`, `"dispositions":[`} {
		if !strings.Contains(got.body, want) {
			t.Errorf("lacks %s: %s", want, got.body)
		}
	}
	h.call(h.admin, "POST", "/v1/events/evt_2/retry", "").expect(409).refused("conflict")
	if again := h.call(h.admin, "POST", "/v1/events/evt_2/retry", "", "Idempotency-Key", "retry-2").expect(202); again.body != got.body {
		t.Errorf("asked again: %s", again.body)
	}
}
