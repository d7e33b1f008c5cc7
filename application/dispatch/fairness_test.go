package dispatch_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// backlog gives the tenant lanes with deliveries that wait.
func (w *world) backlog(owner tenant.ID, lanes, each int) {
	for i := range lanes {
		lane := w.subscribeFor(owner, fmt.Sprintf("sub_%s_%04d", owner, i), 16)
		for range each {
			w.schedule(lane, "")
		}
	}
	w.Wake()
}

// fill takes turns until there is nothing to do now, and says how many each tenant has out.
func (w *world) fill(out *[]dispatch.Leased) map[tenant.ID]int {
	w.Helper()
	for next := w.now; !next.IsZero() && !next.After(w.now); {
		next = w.step()
		*out = append(*out, w.take()...)
	}
	count := map[tenant.ID]int{}
	for _, l := range *out {
		count[l.Delivery.Tenant]++
	}
	return count
}

// A tenant alone uses all but the slots that are never lent; whoever comes later gets one of those at once, by a lease
// as by a handover, although not one of the other's attempts has ended.
func TestATenantWithManyBusyLanesStarvesNobody(t *testing.T) {
	w := newWorld(t, 512)
	w.backlog("hog", 300, 2)
	var out []dispatch.Leased
	if got := w.fill(&out)["hog"]; got != 504 {
		t.Fatalf("a tenant alone has %d of 512 out", got)
	}
	w.backlog("small", 1, 3)
	if got := w.fill(&out)["small"]; got != 3 {
		t.Errorf("a tenant that comes later has %d of its 3 out", got)
	}
	fresh := w.subscribeFor("fresh", "sub_fresh", 16)
	if _, ok := w.Reserve(fresh, 16); !ok {
		t.Error("a tenant that comes later is handed nothing over")
	}
	if _, ok := w.Reserve(w.subscribeFor("hog", "sub_hog_another", 16), 16); ok {
		t.Error("a tenant with more than its share gets a slot that is never lent")
	}
}

// As attempts end, two tenants with long queues come to have the same.
func TestBusyTenantsComeToHaveTheSame(t *testing.T) {
	w := newWorld(t, 64)
	w.backlog("hog", 50, 10)
	var out []dispatch.Leased
	w.fill(&out)
	w.backlog("other", 5, 100)
	for range 100 {
		done := out[0]
		out = out[1:]
		w.Finish(done, succeeded())
		if count := w.fill(&out); count["hog"]+count["other"] > 64 {
			t.Fatalf("more are out than may be: %v", count)
		}
	}
	count := w.fill(&out)
	if difference := count["hog"] - count["other"]; difference < -1 || difference > 1 {
		t.Errorf("out are %v", count)
	}
}

// Weights share slots out, and a new weight does so as attempts end.
func TestTenantsHaveOutByTheirWeights(t *testing.T) {
	w := newWorld(t, 64)
	w.weight["heavy"] = 3
	w.backlog("light", 10, 40)
	w.backlog("heavy", 10, 40)
	var out []dispatch.Leased
	churn := func(turns int) map[tenant.ID]int {
		for range turns {
			w.fill(&out)
			done := out[0]
			out = out[1:]
			w.Finish(done, succeeded())
		}
		return w.fill(&out)
	}
	if count := churn(200); count["heavy"] < 47 || count["heavy"] > 49 || count["light"] < 15 {
		t.Errorf("with 3 to 1 out are %v", count)
	}
	w.weight["heavy"], w.weight["light"] = 1, 3
	if count := churn(200); count["light"] < 47 || count["light"] > 49 || count["heavy"] < 15 {
		t.Errorf("with 1 to 3 out are %v", count)
	}
}

// Of tenants that have as much out, the one goes first that waits longest: with a single slot they take turns, as do the lanes of one,
// however many there are.
func TestWhoWaitsLongestGoesFirst(t *testing.T) {
	for many := 2; many <= 5; many++ {
		tenants := newWorld(t, 1)
		for i := range many {
			tenants.backlog(tenant.ID(fmt.Sprintf("t%d", i)), 1, 3)
		}
		lanes := newWorld(t, 1)
		lanes.backlog("alone", many, 3)
		for what, w := range map[string]*world{"tenants": tenants, "lanes": lanes} {
			t.Run(fmt.Sprint(many, what), func(t *testing.T) { w.wantTurns(t, many) })
		}
	}
}

// wantTurns wants each of so many lanes to get the single slot three times, one after the other.
func (w *world) wantTurns(t *testing.T, lanes int) {
	t.Helper()
	var order []dispatch.Lane
	for range 3 * lanes {
		var out []dispatch.Leased
		w.fill(&out)
		if len(out) != 1 {
			t.Fatalf("%d are out, of at most one", len(out))
		}
		order = append(order, out[0].Lane())
		w.Finish(out[0], succeeded())
	}
	for i, lane := range order {
		if i >= lanes && lane != order[i-lanes] || i < lanes && slices.Contains(order[:i], lane) {
			t.Fatalf("they went %v", order)
		}
	}
}

// Of many long queues a turn leases several deliveries each from few, not one from each: to look into a lane is not free.
// Whoever has little does not wait for that.
func TestLongQueuesAreLeasedFromInARow(t *testing.T) {
	w := newWorld(t, 4096)
	for i := range 40 {
		w.backlog(tenant.ID(fmt.Sprintf("t%02d", i)), 5, 20)
	}
	leased := func() map[dispatch.Lane]int {
		of := map[dispatch.Lane]int{}
		for _, q := range w.rows {
			if q.lease != "" {
				of[dispatch.LaneOf(q.Delivery)]++
			}
		}
		return of
	}
	w.step() // nothing is known of a lane before it was looked into
	before := leased()
	if len(before) != 200 {
		t.Fatalf("leased from %d of 200 lanes at first", len(before))
	}
	w.backlog("small", 1, 1)
	w.step()
	touched, small := 0, 0
	for lane, n := range leased() {
		if n > before[lane] {
			touched++
		}
		if lane.Tenant == "small" {
			small = n
		}
	}
	if touched == 0 || touched > 40 {
		t.Errorf("a turn leased from %d lanes, of which each has more", touched)
	}
	if small != 1 {
		t.Errorf("a tenant that has one delivery was leased %d", small)
	}
}
