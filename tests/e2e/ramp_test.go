package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// gated is a receiver that fails until it is mended. From then on it holds what arrives until it is let through, and holds
// the service to the ramp: one probe, then with each windowful of successes twice as many at once.
type gated struct {
	t    *testing.T
	most int

	mu       sync.Mutex
	mended   bool
	gate     chan struct{}
	inFlight int
	answered int // with success, or about to be
}

// allowed is how many may be in flight after so many successes. It is never less than what the service knows of.
func (g *gated) allowed() int {
	n := 1
	for n < g.most && 2*n <= g.answered+1 {
		n *= 2
	}
	return n
}

func (g *gated) answer(_ int, _ arrival, w http.ResponseWriter) {
	g.mu.Lock()
	if !g.mended {
		g.mu.Unlock()
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	if g.inFlight++; g.inFlight > g.allowed() {
		g.t.Errorf("%d attempts are in flight after %d successes, where %d are allowed", g.inFlight, g.answered, g.allowed())
	}
	gate := g.gate
	g.mu.Unlock()
	if gate != nil {
		<-gate
		return
	}
	g.mu.Lock()
	g.inFlight--
	g.answered++
	g.mu.Unlock()
}

func (g *gated) mend() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.mended, g.gate = true, make(chan struct{})
}

// held all until so many are in flight.
func (g *gated) held(n int) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("%d attempts are in flight", n), func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.inFlight >= n
	})
}

// through lets all pass that are in flight, and holds others; if all may pass, nothing is held any more.
func (g *gated) through(all bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gate == nil {
		return
	}
	g.answered, g.inFlight = g.answered+g.inFlight, 0
	close(g.gate)
	if g.gate = make(chan struct{}); all {
		g.gate = nil
	}
}

// A receiver that comes back gets its backlog at a ramp and in order, and all of it; other subscriptions notice nothing.
func TestABacklogComesAtARamp(t *testing.T) {
	t.Parallel()
	onEachDatabase(t, func(t *testing.T, s *service) {
		t.Parallel() // a circuit takes half a minute to open
		const most, first, backlog = 16, 20, 300
		acme := newTenant(t, s)
		gate := &gated{t: t, most: most}
		hook, well := receive(t, gate.answer), receive(t, nil)
		t.Cleanup(func() { gate.through(true) })
		schedule := slices.Repeat([]string{"3s"}, 20)
		sub := acme.subscribe(hook, "visit_report.approved", object{"maxInFlight": most, "timeoutSeconds": 30, "retrySchedule": schedule})
		healthy := acme.subscribe(well, "visit_report.rejected", nil)
		flowing := func() {
			t.Helper()
			acme.settled(acme.emit(acme.visit("visit_report.rejected", nil)), healthy.ID, "succeeded")
		}

		ids := acme.emitMany(first)
		eventually(t, "the circuit opens", func() bool { return acme.circuit(sub.ID).Circuit.State != "closed" })
		waiting := acme.emitMany(backlog)
		eventually(t, "the backlog is there", func() bool { return acme.deliveries() == first+backlog })
		eventually(t, "what was under way has ended", func() bool {
			return strings.Contains(string(api{t: t, url: s.url}.get("/metrics").body), "\nordinavo_attempts_in_flight 0\n")
		})
		flowing()
		before := hook.all()

		gate.mend()
		for allowed := 1; allowed <= most; allowed *= 2 {
			gate.held(allowed)
			flowing() // so the service has looked for more to send meanwhile
			gate.held(allowed)
			gate.through(allowed == most)
		}

		all := slices.Concat(ids, waiting)
		hook.wait(len(before) + len(all))
		for _, id := range all {
			acme.settled(id, sub.ID, "succeeded")
		}
		after := hook.exactly(len(before) + len(all))[len(before):]
		inOrder(t, after, notAmong(before, waiting), most)
	})
}

// deliveries is how many there are of the tenant, of whatever status.
func (n tenant) deliveries() (count int) {
	n.t.Helper()
	for _, of := range n.reconciled().Dispositions.Deliveries {
		count += of
	}
	return count
}

func notAmong(arrivals []arrival, ids []string) []string {
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		return slices.ContainsFunc(arrivals, func(a arrival) bool { return a.eventID() == id })
	})
}

// inOrder wants none of the events to overtake more than those that may be in flight beside it. Others may come among them.
func inOrder(t *testing.T, arrivals []arrival, ids []string, inFlight int) {
	t.Helper()
	came := 0
	for _, a := range arrivals {
		place := slices.Index(ids, a.eventID())
		if place < 0 {
			continue
		}
		if came++; place >= came+inFlight {
			t.Errorf("the event in place %d of those that wait came as number %d", place+1, came)
		}
	}
	if came != len(ids) {
		t.Errorf("%d of %d events came", came, len(ids))
	}
}
