package dispatch

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// Whatever becomes of what is held, neither it nor its bytes count any longer: else there would be room for nothing some day.
func TestBytesCountWhileTheyAreHeld(t *testing.T) {
	now, id := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), Lane{Tenant: "acme", SubscriptionID: "sub_1"}
	for name, end := range map[string]func(s *slots, begun Leased){
		"begun":      func(s *slots, begun Leased) { s.free(id, now); s.shareOut(now) },
		"given back": func(s *slots, begun Leased) { s.changed(id); s.gaveBack(s.giveBack(now), now) },
		"put back, and given back": func(s *slots, begun Leased) {
			s.changed(id)
			s.putBack(begun)
			s.gaveBack(s.giveBack(now), now)
		},
	} {
		s := newSlots(100)
		var both []Leased
		for range 2 {
			if !s.reserve(id, 1, now) {
				t.Fatal("no room")
			}
			l := leasedOf(id, "dlv_1")
			l.Body = make([]byte, 1000)
			both = append(both, l)
		}
		begun := s.take(both, true, now)
		if len(begun) != 1 || s.heldBytes != 1000 {
			t.Fatalf("%d began, and %d bytes are held", len(begun), s.heldBytes)
		}
		if end(s, begun[0]); s.heldBytes != 0 {
			t.Errorf("%s: %d bytes count as held", name, s.heldBytes)
		}
		leased := map[string]int{"begun": 1, "given back": 1, "put back, and given back": 0}[name]
		if ahead := s.shareOf(id.Tenant).ahead; s.leased != leased || ahead != 0 {
			t.Errorf("%s: %d count as leased, and %d of them as ahead", name, s.leased, ahead)
		}
	}
}

func leasedOf(id Lane, name string) (l Leased) {
	l.Delivery.ID, l.Delivery.Tenant, l.Delivery.SubscriptionID = name, id.Tenant, id.SubscriptionID
	return l
}

// Nothing may overtake what is being leased or given back: it is older.
func TestNothingOvertakesWhatIsOnItsWay(t *testing.T) {
	now, id := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), Lane{Tenant: "acme", SubscriptionID: "sub_1"}

	s := newSlots(100)
	s.ready([]Lane{id}, now)
	asked, _ := s.shareOut(now)
	if len(asked) != 1 || s.reserve(id, 10, now) {
		t.Errorf("asked %v, and what is scheduled meanwhile is handed over", asked)
	}
	begun := s.answered(asked, LeaseAnswer{Leased: []Leased{leasedOf(id, "dlv_1")}, Lanes: map[Lane]LaneRest{id: {MaxInFlight: 10, Weight: 1}}}, now, now)
	if again, _ := s.shareOut(now); len(begun) != 1 || len(again) != 1 {
		t.Errorf("%d began, and what was scheduled meanwhile is looked for in %v", len(begun), again)
	}

	s = newSlots(100)
	for range 2 {
		if !s.reserve(id, 1, now) {
			t.Fatal("no room")
		}
	}
	out := s.take([]Leased{leasedOf(id, "dlv_1"), leasedOf(id, "dlv_2")}, true, now)
	s.changed(id)
	back := s.giveBack(now)
	s.free(out[0].Lane(), now)
	s.ready([]Lane{id}, now)
	if asked, _ := s.shareOut(now); len(back) != 1 || len(asked) != 0 {
		t.Errorf("%d are given back, and meanwhile %v are leased from", len(back), asked)
	}
	s.gaveBack(back, now)
	if asked, _ := s.shareOut(now); len(asked) != 1 {
		t.Errorf("after it %v are leased from", asked)
	}
}

// Who comes and goes leaves nothing: the others' shares are as before.
func TestTenantsThatGoTakeTheirWeightWithThem(t *testing.T) {
	now, s := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), newSlots(100)
	for _, owner := range []string{"a", "b", "c"} {
		id := Lane{Tenant: tenant.ID(owner), SubscriptionID: "sub_" + owner}
		s.ready([]Lane{id}, now)
		asked, _ := s.shareOut(now)
		begun := s.answered(asked, LeaseAnswer{Leased: []Leased{leasedOf(id, "dlv_"+owner)}, Lanes: map[Lane]LaneRest{id: {MaxInFlight: 10, Weight: 7}}}, now, now)
		if len(begun) != 1 || s.weight != 7 {
			t.Fatalf("%d began, and all tenants weigh %d", len(begun), s.weight)
		}
		s.free(id, now)
		if s.weight != 0 || len(s.tenants) != 0 || s.out != 0 || s.leased != 0 {
			t.Errorf("it leaves a weight of %d, %d tenants, %d out, %d leased", s.weight, len(s.tenants), s.out, s.leased)
		}
	}
}

// However little a tenant weighs, it gets a slot that is never lent.
func TestTheLightestTenantGetsASlot(t *testing.T) {
	s := newSlots(64)
	s.weights["heavy"] = 100
	s.shareOf("heavy")
	s.out = 63
	if light := s.shareOf("light"); !s.may(light) {
		t.Errorf("a tenant with %d of %d gets none of the slots kept back", light.weight, s.weight)
	}
}

// What is reserved is bounded by what this process may have leased, over all lanes.
func TestNoMoreIsReservedThanMayBeLeased(t *testing.T) {
	now, s := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), newSlots(10)
	s.leased = s.most
	if s.reserve(Lane{Tenant: "acme", SubscriptionID: "sub_1"}, 10, now) {
		t.Errorf("reserved, beside %d", s.leased)
	}
}

// What is held is bounded by the bytes of its bodies, over all lanes: only what gets a slot at once is still taken.
func TestNoMoreIsHeldThanItsBytesAllow(t *testing.T) {
	now, s := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), newSlots(100)
	id, other, third := Lane{Tenant: "acme", SubscriptionID: "sub_1"}, Lane{Tenant: "other", SubscriptionID: "sub_2"}, Lane{Tenant: "third", SubscriptionID: "sub_3"}
	large := leasedOf(id, "dlv_1")
	large.Body = make([]byte, maxHeldBytes)
	ofTwo := func(of Lane) (reserved int) {
		for range 2 {
			if s.reserve(of, 1, now) {
				reserved++
			}
		}
		return reserved
	}
	if ofTwo(id) != 2 {
		t.Fatal("no room")
	}
	if begun := s.take([]Leased{large, large}, true, now); len(begun) != 1 || s.heldBytes != maxHeldBytes {
		t.Fatalf("%d began, and %d bytes are held", len(begun), s.heldBytes)
	}
	if n := ofTwo(other); n != 1 {
		t.Errorf("another lane gets %d, not its slot alone", n)
	}
	s.free(id, now)
	if s.shareOut(now); ofTwo(third) != 2 {
		t.Error("nothing is held, and there is no room")
	}
}
