package faults_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// sickScenarios are about receivers that are sick beside those that are well.
var sickScenarios = []scenario{
	{name: "a fifth hangs", does: "of ten tenants' receivers two take requests and never answer, now and then; the others' latency then is compared with what it is else",
		invariants: "I6", on: both, run: aFifthHangs, alone: true},
}

// Tenants of which a fifth hangs, and the bar of the latency of the others.
const (
	manyTenants  = 10
	hanging      = manyTenants / 5
	maxSickRatio = 1.5
)

// hangFor is how long an attempt at a receiver that hangs takes, in seconds. In the short form that is longer than the
// scenario, so that nothing moves if it waits for one.
func hangFor() int {
	if *full {
		return 2
	}
	return 30
}

// aFifthHangs measures by turns with all well and with a fifth that hangs, so that whatever else the machine does is in
// both.
func aFifthHangs(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil)
	all := s.manyTenants(hangFor())
	sick := all[:hanging]
	s.pace(all, time.Second) // for warming up
	s.settle()
	var well, beside []time.Duration
	var ratios []float64
	for range inFull(2, 30) {
		earlier := len(s.events())
		before := s.latencies(all[hanging:], s.pace(all, 2*time.Second))
		held := make(chan struct{})
		letGo := sync.OnceFunc(func() { close(held) })
		t.Cleanup(letGo)
		s.receiver.answers(func(a arrival) int {
			if slices.ContainsFunc(sick, func(tenant string) bool { return strings.HasPrefix(a.path, "/"+tenant+"/") }) {
				<-held
			}
			return http.StatusOK
		})
		during := s.latencies(all[hanging:], s.pace(all, 2*time.Second))
		if again := s.repeated(sick); again != "" && !*full {
			t.Errorf("I6: the healthy waited until %s was given up and tried again", again)
		}
		s.receiver.answers(nil)
		letGo()
		s.settleThese(s.events()[earlier:]) // of the others it is known
		well, beside = append(well, before...), append(beside, during...)
		ratios = append(ratios, float64(slowest(during))/float64(slowest(before)))
	}
	slices.Sort(ratios)
	p99, p99Beside := slowest(well), slowest(beside)
	if *full && float64(p99Beside) > maxSickRatio*float64(p99) { // of few, and beside other tests, a percentile is worth little
		t.Errorf("I6: p99 is %s beside those that hang, and %s else", p99Beside, p99)
	}
	return fmt.Sprintf("p99 of the healthy from POST to arrival %.1f ms, beside those that hang %.1f ms: %.2f times, and in the middle one of %d turns %.2f times; p50 %.1f and %.1f ms; %s",
		ms(p99), ms(p99Beside), float64(p99Beside)/float64(p99), len(ratios), ratios[len(ratios)/2], ms(well[len(well)/2]), ms(beside[len(beside)/2]), s.check())
}

// slowest is the slowest but for a hundredth; it sorts them.
func slowest(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)*99/100]
}

// manyTenants makes them, each with a subscription.
func (s *site) manyTenants(timeout int) []string {
	s.Helper()
	all := make([]string, manyTenants)
	for i := range all {
		all[i] = fmt.Sprintf("tenant-%d", i)
		s.tenant(all[i])
		s.subscribe(all[i], "all", true, "visit_report.*", object{"timeoutSeconds": timeout})
	}
	s.noteIdle()
	return all
}

// repeated is a delivery to one of the tenants that came more than once.
func (s *site) repeated(to []string) (delivery string) {
	seen := map[string]bool{}
	for _, a := range s.receiver.all() {
		tenant, _, _ := strings.Cut(strings.TrimPrefix(a.path, "/"), "/")
		if slices.Contains(to, tenant) {
			if seen[a.delivery] {
				return a.delivery
			}
			seen[a.delivery] = true
		}
	}
	return ""
}

// pace emits one event for each of the tenants, again and again, and gives when each was about to be sent.
func (s *site) pace(of []string, length time.Duration) map[string]time.Time {
	s.Helper()
	sent := map[string]time.Time{}
	again := time.NewTicker(calmer(20 * time.Millisecond))
	defer again.Stop()
	for turn, began := 0, time.Now(); time.Since(began) < length; turn++ {
		<-again.C
		events := make([]object, len(of))
		emitted := time.Now()
		for i, tenant := range of {
			id := newEventID()
			events[i] = visit(tenant, id)
			sent[id] = emitted
		}
		s.post("", "/v1/events", object{"events": events}, nil)
		s.mu.Lock()
		for i, tenant := range of {
			s.accepted = append(s.accepted, accepted{events[i]["eventId"].(string), tenant, time.Now(), time.Since(emitted)})
		}
		s.mu.Unlock()
	}
	return sent
}

// latencies waits until all that was sent has arrived at the tenants, and says how long each took.
func (s *site) latencies(of []string, sent map[string]time.Time) (all []time.Duration) {
	s.Helper()
	want := len(sent) * len(of) / manyTenants
	eventually(s.T, "the healthy have got theirs", func() bool {
		all = nil
		for _, a := range s.receiver.all() {
			tenant, _, _ := strings.Cut(strings.TrimPrefix(a.path, "/"), "/")
			if at, mine := sent[a.event]; mine && slices.Contains(of, tenant) {
				all = append(all, a.at.Sub(at))
			}
		}
		return len(all) >= want
	})
	return all
}
