package faults_test

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// trouble is a time in which a fault may have parted processes from their attempts. The scenario notes it, never the service.
type trouble struct{ from, to time.Time }

// strike notes that a fault begins which keeps living processes from their heartbeats. Leases may run out because of it until a
// heartbeat's timeout after over is called. Deaths are noted by whoever watches over the processes.
func (s *site) strike() (over func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := len(s.troubles)
	s.troubles = append(s.troubles, trouble{from: time.Now(), to: forever})
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.troubles[at].to = time.Now().Add(dispatch.HeartbeatTimeout)
	}
}

var forever = time.Now().Add(24 * time.Hour)

// died notes a process that did not end in peace. Its attempts began before; those of others are none of its.
func (s *site) died(p *process) {
	if p.command.ProcessState.ExitCode() == 0 {
		return
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.troubles = append(s.troubles, trouble{now, now})
	for _, v := range p.command.Env {
		if at, armed := strings.CutPrefix(v, killVariable); armed {
			hop, _, _ := strings.Cut(at, ":")
			s.diedAt[hop]++
		}
	}
}

// killedAt is how many processes died that were to kill themselves at each hop.
func (s *site) killedAt() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.diedAt)
}

func (s *site) troubled() []trouble {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.troubles)
}

// overlapped reports whether a fault hit while an attempt was out: from its start on, until it was known at the latest that it was lost.
func overlapped(all []trouble, began, known time.Time) bool {
	return slices.ContainsFunc(all, func(t trouble) bool { return !began.Add(-rounded).After(t.to) && !known.Add(rounded).Before(t.from) })
}

// excused reports whether attempt i of a delivery, whose end nobody knows, is one that a fault overlapped or a receiver kept waiting.
func excused(all []trouble, d delivery, i int, got []arrival) bool {
	a, known := d.Attempts[i], forever
	if i+1 < len(d.Attempts) {
		known = d.Attempts[i+1].StartedAt
	}
	if overlapped(all, a.StartedAt, known) {
		return true
	}
	return a.Outcome == "timeout" && slices.ContainsFunc(got, func(g arrival) bool {
		return g.answered.Sub(g.at) >= time.Duration(a.DurationMs*float64(time.Millisecond))-keptWaiting
	})
}

// keptWaiting is what of an attempt may have passed before its receiver had its request.
const keptWaiting = time.Second
