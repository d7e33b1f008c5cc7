package rest_test

import (
	"strings"
	"testing"
)

// What somebody did by the API had consequences that no document told, and was found out by them.
func TestWhatFollowsIsSaid(t *testing.T) {
	paths := newHarness(t).document().Paths
	const one = "/v1/subscriptions/{subscriptionId}"
	for _, c := range []struct{ method, path, want, why string }{
		{"post", "/v1/deliveries/{deliveryId}/retry", "schedule begins anew", "a retry that fails is the first of ten more attempts, over two days"},
		{"post", "/v1/deliveries/retry", "schedule begins anew", "so is each of a bulk retry"},
		{"patch", one, "for every attempt from then on", "who corrects a URL has to know whether what failed goes there"},
		{"patch", one, "accepted from then on", "who corrects a filter or an option has to know that what failed goes as it was"},
		{"post", one + "/pause", "refused with", "a pause that is forgotten has all the tenant's events refused in the end"},
		{"post", one + "/resume", "/v1/deliveries/retry", "what was given up before the service disabled it does not come by a resume"},
		{"get", one + "/events", "skipParked", "a receiver that only pulls fills the tenant's room for unfinished deliveries, however much it reads"},
	} {
		if about := strings.Join(strings.Fields(paths[c.path][c.method].Description), " "); !strings.Contains(about, c.want) {
			t.Errorf("%s %s lacks %q (%s): %s", c.method, c.path, c.want, c.why, about)
		}
	}
}
