package dispatch

import (
	"maps"
	"sync"
)

// slots counts what is out: in this process, and in each lane.
type slots struct {
	mu       sync.Mutex
	limit    int
	inFlight int
	leasing  bool // a lease is being taken: the lanes' counts are about to change
	lanes    map[Lane]int
}

func newSlots(limit int) *slots { return &slots{limit: limit, lanes: map[Lane]int{}} }

// reserve takes a slot unless the process or the lane is full.
func (s *slots) reserve(lane Lane, maxInFlight int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leasing || s.inFlight >= s.limit || s.lanes[lane] >= maxInFlight {
		return false
	}
	s.inFlight++
	s.lanes[lane]++
	return true
}

// beginLease says how many slots are left and what each lane has out; until endLease
// nothing is reserved, so that the answer stays true.
func (s *slots) beginLease() (left int, lanes map[Lane]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leasing = true
	return s.limit - s.inFlight, maps.Clone(s.lanes)
}

// endLease counts what was leased.
func (s *slots) endLease(leased []Leased) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leasing = false
	for _, l := range leased {
		s.inFlight++
		s.lanes[l.Lane()]++
	}
}

func (s *slots) free(lane Lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if s.lanes[lane]--; s.lanes[lane] <= 0 {
		delete(s.lanes, lane)
	}
}

func (s *slots) out() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight
}
