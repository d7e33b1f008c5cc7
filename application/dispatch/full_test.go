package dispatch_test

import (
	"fmt"
	"testing"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// While all slots are taken nobody gets one, and those who wait are not even listed: there may be tens of thousands of tenants, and each attempt
// that ends makes a step.
func TestNobodyIsLookedAtWhileAllSlotsAreTaken(t *testing.T) {
	w := newWorld(t, 4)
	for i := range 200 {
		w.schedule(w.subscribeFor(tenant.ID(fmt.Sprintf("tenant-%d", i)), fmt.Sprintf("sub_%03d", i), 16), "")
	}
	w.Wake()
	out := w.rest(4)
	if len(out) != 4 {
		t.Fatalf("%d are out", len(out))
	}
	if n := testing.AllocsPerRun(10, func() {
		if w.ShareOut(w.now) {
			t.Error("something can be asked for without a slot")
		}
	}); n > 0 {
		t.Errorf("to share out no slot takes %v allocations", n)
	}
	w.Finish(out[0], succeeded())
	if !w.ShareOut(w.now) {
		t.Error("nothing can be asked for with a free slot")
	}
}
