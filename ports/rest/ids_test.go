package rest_test

import "testing"

func TestWhatHasNotTheFormOfAnIDIsNotThere(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/v1/subscriptions/evt_1", "/v1/subscriptions/sub_nope", "/v1/events/x", "/v1/deliveries/x"} {
		h.call(h.admin, "GET", path, "").expect(404).refused("not_found")
	}
	h.call(h.admin, "POST", "/v1/deliveries/x/retry", "").expect(404).refused("not_found")
}
