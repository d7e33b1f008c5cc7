package rest_test

import (
	"strings"
	"testing"
)

// A key is one text of printable characters, which logs and proxies leave as it is.
func TestWhichIdempotencyKeysThereAre(t *testing.T) {
	h := newHarness(t)
	for key, status := range map[string]int{strings.Repeat("x", 255): 201, " a~": 201, "a\tb": 400} {
		h.call(h.admin, "POST", "/v1/subscriptions", newSubscription, "Idempotency-Key", key).expect(status)
	}
	h.call(h.admin, "POST", "/v1/subscriptions", newSubscription, "Idempotency-Key", "one", "Idempotency-Key", "another").expect(400)
}

// Whoever reads again after a conflict, and asks for the same with the ETag that is now right, is not told again that it is another.
func TestAnIdempotencyKeyIsOfItsIfMatch(t *testing.T) {
	h := newHarness(t)
	one := "/v1/subscriptions/" + h.subscribe()
	rename := func(etag string) answer {
		return h.call(h.admin, "PATCH", one, `{"name":"renamed"}`, "Idempotency-Key", "k", "If-Match", etag)
	}
	rename(`"7"`).expect(409).refused("conflict")
	rename(`"1"`).expect(409).refused("idempotency_conflict")
	if again := rename(`"7"`).expect(409); again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("not the kept answer: %s", again.body)
	}
}
