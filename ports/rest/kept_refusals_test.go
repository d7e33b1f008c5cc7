package rest_test

import (
	"fmt"
	"strings"
	"testing"

	domain "github.com/ordinavo/webhooks/domain/access"
)

// What is kept with an Idempotency-Key is for who may write: a key that may only read filled the disk with refusals.
func TestNothingIsKeptOfWhoMayOnlyRead(t *testing.T) {
	h := newHarness(t)
	readers := []string{
		h.key(domain.Key{Tenant: own, Scopes: []domain.Scope{domain.EventsRead, domain.WebhooksRead, domain.DeliveriesRead}}),
		h.key(domain.Key{Scopes: []domain.Scope{domain.EventsRead, domain.WebhooksRead, domain.DeliveriesRead}}), // a platform's
	}
	writes := h.operationsWithBody()
	for _, path := range []string{"/v1/api-keys/key_1", "/v1/subscriptions/sub_1", "/v1/directory/customers/12", "/v1/directory/external-ids"} {
		writes = append(writes, takesBody{method: "DELETE", path: path})
	}
	before := len(h.store.answers)
	for _, key := range readers {
		for i, o := range writes {
			got := h.call(key, o.method, o.path, string(mustJSON(t, o.example)), "Idempotency-Key", fmt.Sprint(i), "X-Ordinavo-Tenant", own)
			if got.status != 200 && got.status != 403 && got.status != 404 || len(h.store.answers) != before {
				t.Fatalf("%s %s: %d, %d answers are kept", o.method, o.path, got.status, len(h.store.answers)-before)
			}
		}
	}
	// Who may not manage keys learns nothing of what else is wrong.
	h.call(readers[0], "POST", "/v1/api-keys", `{"scopes":[0]}`).expect(403).refused("missing_scope")
}

// A refusal is kept like any answer, and names no more of a body than fits into a small one.
func TestAKeptRefusalIsSmall(t *testing.T) {
	h := newHarness(t)
	for name, body := range map[string]string{
		"many names":        `{` + members(900) + `"name":"x"}`,
		"long names":        longNames(100, 9_900, "%d%s"),
		"names alike":       longNames(100, 9_900, "%[2]s%[1]d"),
		"quotation marks":   strings.ReplaceAll(longNames(100, 4_900, "%d%s"), "x", `\"`),
		"control character": strings.ReplaceAll(longNames(100, 1_600, "%d%s"), "x", `\u0001`),
		"nothing else":      `{"\u0001":1}`,
	} {
		post := func() answer { return h.call(h.admin, "POST", "/v1/api-keys", body, "Idempotency-Key", name) }
		first := post().expect(400)
		if len(first.body) > 20<<10 {
			t.Errorf("%s: %d bytes", name, len(first.body))
		}
		fields := first.refusedFields()
		for path, messages := range fields {
			if path == "" || len(path) > 210 || len(messages) > 3 || strings.Contains(path, "\x01") {
				t.Errorf("%s: a name of %d bytes with %d messages", name, len(path), len(messages))
			}
		}
		if again := post().expect(400); len(fields) == 0 || again.body != first.body || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %v %s, and then %s", name, again.header, first.body, again.body)
		}
	}
	for _, kept := range h.store.answers {
		if len(kept.sealed) > 28<<10 {
			t.Errorf("%d bytes are kept", len(kept.sealed))
		}
	}
}

// longNames is an object of n members whose long names are told apart by the numbers that they begin with, or end with.
func longNames(n, length int, format string) string {
	var text strings.Builder
	for i := range n {
		fmt.Fprintf(&text, `"`+format+`":1,`, i, strings.Repeat("x", length))
	}
	return "{" + strings.TrimSuffix(text.String(), ",") + "}"
}
