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
