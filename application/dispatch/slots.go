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
	lanes    map[Lane]int
	// behind holds the lanes with older deliveries that wait; leasing says that this is about to change.
	behind  map[Lane]bool
	leasing bool
}

func newSlots(limit int) *slots { return &slots{limit: limit, lanes: map[Lane]int{}} }

// reserve takes a slot, unless the process or the lane is full, or older ones of the lane wait.
func (s *slots) reserve(lane Lane, maxInFlight int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leasing || s.behind[lane] || s.inFlight >= s.limit || s.lanes[lane] >= maxInFlight {
		return false
	}
	s.inFlight++
	s.lanes[lane]++
	return true
}

// beginLease says how many slots are left and what each lane has out, as if those that are being
// recorded had ended; until endLease nothing is reserved, so that the answer stays true.
func (s *slots) beginLease(recorded []result) (left int, lanes map[Lane]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leasing = true
	lanes = maps.Clone(s.lanes)
	for _, r := range recorded {
		lanes[r.leased.Lane()]--
	}
	return s.limit - s.inFlight + len(recorded), lanes
}

// endLease counts what was leased.
func (s *slots) endLease(answer LeaseAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leasing, s.behind = false, answer.Behind
	for _, l := range answer.Leased {
		s.inFlight++
		s.lanes[l.Lane()]++
	}
}

// failLease leaves what is known of the lanes as it was.
func (s *slots) failLease() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leasing = false
}

func (s *slots) free(lane Lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inFlight--
	if s.lanes[lane]--; s.lanes[lane] <= 0 {
		delete(s.lanes, lane)
	}
}

// waiting reports whether a lane has deliveries that are due and not leased.
func (s *slots) waiting() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.behind) > 0
}

func (s *slots) out() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight
}
