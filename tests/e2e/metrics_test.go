package e2e_test

import (
	"net/http"
	"testing"
)

// The projection follows the log: attempts are counted by outcome, with how long they took, for their tenant alone.
func TestDeliveryMetricsFollowTheLog(t *testing.T) {
	t.Parallel()
	s := sharedService(t)
	acme, other := newTenant(t, s), newTenant(t, s)
	hook := receive(t, func(n int, _ arrival, w http.ResponseWriter) {
		if n == 1 {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})
	sub := acme.subscribe(hook, "*", nil)
	for range 3 {
		acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "succeeded")
	}
	type point struct {
		SubscriptionID, EventType, Outcome string
		Count                              int
		LatencyMs                          struct{ P50, P95, P99 float64 }
	}
	var got []point
	eventually(t, "four attempts are counted", func() bool {
		got = into[struct{ Data []point }](acme.get("/v1/metrics/deliveries?interval=24h").want(http.StatusOK)).Data
		counts := map[string]int{}
		for _, p := range got {
			counts[p.Outcome] += p.Count
		}
		return counts["http_status"] == 1 && counts["succeeded"] == 3
	})
	for _, p := range got {
		if l := p.LatencyMs; p.SubscriptionID != sub.ID || p.EventType != "visit_report.approved" || l.P50 <= 0 || l.P95 < l.P50 || l.P99 < l.P95 {
			t.Errorf("got %+v", p)
		}
	}
	all := into[struct{ Data []point }](acme.get("/v1/metrics/deliveries?interval=24h&groupBy=none").want(http.StatusOK)).Data
	if len(all) != 1 || all[0].Count != 4 || all[0].Outcome != "" || all[0].SubscriptionID != "" || all[0].EventType != "" || all[0].LatencyMs.P99 < max(got[0].LatencyMs.P50, got[1].LatencyMs.P50) {
		t.Errorf("all together: %+v of %+v", all, got)
	}
	if theirs := into[struct{ Data []point }](other.get("/v1/metrics/deliveries").want(http.StatusOK)).Data; len(theirs) > 0 {
		t.Errorf("another tenant sees %+v", theirs)
	}
}
