package dispatch

import (
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/circuit"
)

// learn records the outcome in the lane's circuit. A success ends a pause, and what waited for that waits no more.
func (l *lane) learn(r Result, now time.Time) {
	waited, record := l.circuit.Wait(now) > 0, l.circuit.Record
	if r.madeUp {
		record = l.circuit.RecordMadeUp
	}
	l.circuit = record(r.Outcome, r.Leased.Subscription.MaxInFlight, now)
	if waited && l.circuit.Wait(now) == 0 {
		l.again = time.Time{}
	}
}

// madeUp reports whether the receiver has succeeded since the attempt failed: where many fail now and then, and are handed in together, they
// are not so many in a row.
func (s *slots) madeUp(r Result) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(r.Leased.Lane())
	ago := l.succeeded.Sub(r.Outcome.EndedAt())
	return r.Leased.receiver == l.receiver && ago > 0 && ago < longestLate
}

// longestLate is more than failures are handed in after their end: a success that ended later still is from before the clock was set back.
const longestLate = time.Second

// forget closes the lane's circuit. Nothing held begins until it is seen again what the subscription allows.
func (s *slots) forget(id Lane, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(id)
	l.circuit, l.silent, l.allowed, l.again, l.succeeded = circuit.Circuit{}, false, 0, time.Time{}, time.Time{}
	l.receiver++
	l.change()
	s.toTell(l)
	s.line(l, now)
	s.drop(l)
}

// toTell notes whether there is news of the lane's circuit.
func (s *slots) toTell(l *lane) {
	if l.circuit.Report() == l.told {
		delete(s.untold, l)
	} else {
		s.untold[l] = true
	}
}

// reports is the news to publish, in the order of the lanes.
func (s *slots) reports() (list []CircuitReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.untold {
		list = append(list, CircuitReport{l.id, l.circuit.Report()})
	}
	slices.SortFunc(list, func(a, b CircuitReport) int { return a.Compare(b.Lane) })
	return list
}

// told notes what was published; the circuits may have changed again meanwhile.
func (s *slots) told(reports []CircuitReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range reports {
		l := s.of(r.Lane)
		l.told = r.Report
		s.toTell(l)
		s.drop(l)
	}
}

// states counts the circuits that are not closed.
func (s *slots) states(now time.Time) map[circuit.State]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[circuit.State]int{}
	for _, l := range s.lanes {
		if state := l.circuit.State(now); state != circuit.Closed {
			counts[state]++
		}
	}
	return counts
}
