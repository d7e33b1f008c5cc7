package dispatch

import (
	"maps"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/domain/circuit"
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
	// circuits is what is known of receivers that are not well.
	circuits map[Lane]circuit.Circuit
	// allowed is what the subscriptions of lanes that are behind allow, as far as it was seen.
	allowed map[Lane]int
}

func newSlots(limit int) *slots {
	return &slots{limit: limit, lanes: map[Lane]int{}, circuits: map[Lane]circuit.Circuit{}, allowed: map[Lane]int{}}
}

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

// beginLease says how many slots are left, what each lane has out and which get less than they may, as if
// those that are being recorded had ended; until endLease nothing is reserved, so that the answer stays true.
func (s *slots) beginLease(recorded []result, now time.Time) (left int, lanes, limits map[Lane]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leasing = true
	lanes = maps.Clone(s.lanes)
	for _, r := range recorded {
		lanes[r.leased.Lane()]--
	}
	limits = make(map[Lane]int, len(s.circuits))
	for lane, c := range s.circuits {
		// Without a backlog there is nothing to hold back: what is due is sent when it is due.
		if s.behind[lane] {
			limits[lane] = c.Limit(s.limit, now)
		}
	}
	return s.limit - s.inFlight + len(recorded), lanes, limits
}

// endLease counts what was leased.
func (s *slots) endLease(answer LeaseAnswer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leasing, s.behind = false, answer.Behind
	for _, l := range answer.Leased {
		s.inFlight++
		s.lanes[l.Lane()]++
		s.allowed[l.Lane()] = l.Subscription.MaxInFlight
	}
	for lane := range s.allowed {
		if !s.behind[lane] {
			delete(s.allowed, lane)
		}
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

// waiting reports whether a lease could take something: there is a slot, and a lane that is behind
// may have more out than it has. To look for it costs a walk over all lanes.
func (s *slots) waiting(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inFlight >= s.limit {
		return false
	}
	for lane := range s.behind {
		allowed, seen := s.allowed[lane]
		if !seen {
			allowed = s.limit
		}
		if s.lanes[lane] < s.circuits[lane].Limit(allowed, now) {
			return true
		}
	}
	return false
}

// frees reports whether the recorded outcomes make room in a lane that is behind.
func (s *slots) frees(recorded []result) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range recorded {
		if s.behind[r.leased.Lane()] || s.inFlight >= s.limit && len(s.behind) > 0 {
			return true
		}
	}
	return false
}

// learn tells the lane's circuit what came of an attempt.
func (s *slots) learn(r result, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	lane := r.leased.Lane()
	c := s.circuits[lane].Record(r.outcome, r.leased.Subscription.MaxInFlight, now)
	if c.Known() {
		s.circuits[lane] = c
	} else {
		delete(s.circuits, lane)
	}
}

// forget closes the lane's circuit.
func (s *slots) forget(lane Lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.circuits, lane)
}

// probeDue is when the next lane that waits behind an open circuit gets its probe; zero for none. A
// lane whose probe is out already is woken by what comes of it.
func (s *slots) probeDue(now time.Time) (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for lane := range s.behind {
		if until := s.circuits[lane].Until(); until.After(now) && (next.IsZero() || until.Before(next)) {
			next = until
		}
	}
	return next
}

// states counts the circuits that are not closed.
func (s *slots) states(now time.Time) map[circuit.State]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[circuit.State]int{}
	for _, c := range s.circuits {
		if state := c.State(now); state != circuit.Closed {
			counts[state]++
		}
	}
	return counts
}

func (s *slots) out() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inFlight
}
