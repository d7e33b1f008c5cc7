package dispatch

import (
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/circuit"
)

// forget closes the lane's circuit, and what its subscription allows is to be seen anew: until then nothing that is held begins.
func (s *slots) forget(id Lane, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(id)
	l.circuit, l.silent, l.allowed, l.again = circuit.Circuit{}, false, 0, time.Time{}
	l.change()
	s.toTell(l)
	s.line(l, now)
	s.drop(l)
}

// toTell notes whether something is to be told of the lane's circuit.
func (s *slots) toTell(l *lane) {
	if l.circuit.Report() == l.told {
		delete(s.untold, l)
	} else {
		s.untold[l] = true
	}
}

// reports is what is to be told, in the order of the lanes.
func (s *slots) reports() (list []CircuitReport) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.untold {
		list = append(list, CircuitReport{l.id, l.circuit.Report()})
	}
	slices.SortFunc(list, func(a, b CircuitReport) int { return a.Compare(b.Lane) })
	return list
}

// told notes what was told; meanwhile it may have changed again.
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
