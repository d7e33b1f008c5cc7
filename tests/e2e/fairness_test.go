package e2e_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
)

// A tenant whose receivers hang has all slots that are lent; what another sends meanwhile arrives before even one of them is free.
func TestATenantWhoseReceiversHangSlowsNobody(t *testing.T) {
	t.Parallel()
	const slots = 64
	s := start(t, t.TempDir(), fmt.Sprint("ORDINAVO_MAX_IN_FLIGHT=", slots))
	hog, small, done := newTenant(t, s), newTenant(t, s), make(chan struct{})
	hanging := receive(t, func(int, arrival, http.ResponseWriter) { <-done })
	t.Cleanup(func() { close(done) }) // before the receiver's own, which waits for its handlers
	for range 5 {
		hog.subscribe(hanging, "*", object{"timeoutSeconds": 30, "maxInFlight": 16})
	}
	var events []object
	for range 40 {
		events = append(events, hog.visit("visit_report.approved", nil))
	}
	hog.post("/v1/events", object{"events": events}).want(http.StatusAccepted)
	lent := slots - slots/64
	hanging.wait(lent)
	well := receive(t, nil)
	small.subscribe(well, "*", nil)
	for n := range 3 {
		small.emit(small.visit("visit_report.approved", nil))
		well.wait(n + 1)
	}
	hanging.exactly(lent) // the first that times out makes room for another
}

// Tenants have out by their weights: as attempts end one by one, a tenant of weight 3 comes to have three for each of another's.
func TestTenantsHaveOutByTheirWeights(t *testing.T) {
	t.Parallel()
	const slots, ends = 8, 45
	s := start(t, t.TempDir(), fmt.Sprint("ORDINAVO_MAX_IN_FLIGHT=", slots))
	light, heavy := newTenant(t, s), newTenant(t, s)
	changed := into[struct{ Weight int }](s.platform(t).do(http.MethodPatch, "/v1/tenants/"+heavy.id, object{"weight": 3}).want(http.StatusOK))
	if changed.Weight != 3 {
		t.Fatalf("the weight is %d", changed.Weight)
	}
	end := make(chan struct{})
	var out [2]atomic.Int64
	var began atomic.Int64
	for i, n := range []tenant{light, heavy} {
		hook := receive(t, func(int, arrival, http.ResponseWriter) {
			out[i].Add(1)
			began.Add(1)
			<-end
			out[i].Add(-1)
		})
		n.subscribe(hook, "*", object{"timeoutSeconds": 30})
		var events []object
		for range slots + ends {
			events = append(events, n.visit("visit_report.approved", nil))
		}
		n.post("/v1/events", object{"events": events}).want(http.StatusAccepted)
	}
	t.Cleanup(func() { close(end) }) // before the receivers' own, which wait for their handlers
	for n := range ends + 1 {
		eventually(t, "all slots are taken", func() bool { return began.Load() == int64(slots+n) })
		if n < ends {
			end <- struct{}{}
		}
	}
	if got := [2]int64{out[0].Load(), out[1].Load()}; got != [2]int64{2, 6} {
		t.Errorf("the light and the heavy tenant have %v out", got)
	}
}
