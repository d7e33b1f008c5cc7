package dispatch

import (
	"container/heap"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// slots shares out the attempts that this process makes at once: over the tenants by their weights, and
// within a tenant over its lanes in turn.
//
// What a tenant does not use is lent to the others. A loan is not called back, since an attempt cannot be: instead
// the last slots are never lent: they go to tenants that have less than their share beside a newcomer's.
type slots struct {
	mu      sync.Mutex
	limit   int
	out     int
	lanes   map[Lane]*lane
	tenants map[tenant.ID]*share
	lined   map[*share]bool   // those with somebody in line
	weights map[tenant.ID]int // other than the default, as the last lease saw them
	weight  int               // of all tenants that have something out or ready
	turns   int               // that tenants had
	later   byTime
	untold  map[*lane]bool // those of whose circuits something is to be told
}

// keptBack is the part of the slots that are never lent: few, since a tenant whose receivers answer needs few.
const keptBack = 64

func newSlots(limit int) *slots {
	return &slots{limit: limit, lanes: map[Lane]*lane{}, tenants: map[tenant.ID]*share{}, lined: map[*share]bool{}, weights: map[tenant.ID]int{}, untold: map[*lane]bool{}}
}

// may reports whether the tenant may have one more out.
func (s *slots) may(t *share) bool {
	if s.out < s.limit-s.limit/keptBack {
		return true
	}
	withNewcomer := s.weight + tenant.DefaultWeight
	return s.out < s.limit && t.out < max(1, s.limit*t.weight/withNewcomer)
}

// reserve takes a slot, unless the process or the lane is full, or older ones of the lane wait. A
// lane that gets none is known to have something ready.
func (s *slots) reserve(id Lane, maxInFlight int, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(id)
	if l.ready || l.asked || l.out >= maxInFlight || !s.may(s.shareOf(id.Tenant)) {
		s.found(l, now)
		return false
	}
	s.count(l, 1)
	return true
}

// ready notes lanes in which something is due that nobody holds.
func (s *slots) ready(lanes []Lane, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range lanes {
		s.found(s.of(id), now)
	}
}

func (s *slots) found(l *lane, now time.Time) {
	l.renewed = l.asked
	s.setReady(l, true, now)
}

// ask shares out the slots that are free, and those of the recorded outcomes, over lanes with something
// ready: one at a time to the tenant that has least for its weight. They are taken until asked ends.
func (s *slots) ask(recorded []result, now time.Time) []Asked {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dueAgain(now)
	for _, r := range recorded {
		l := s.of(r.leased.Lane())
		s.count(l, -1)
		s.line(l, now)
	}
	given := s.give(now)
	for _, r := range recorded {
		s.count(s.of(r.leased.Lane()), 1)
	}
	return given
}

func (s *slots) give(now time.Time) (given []Asked) {
	needy := make(byNeed, 0, len(s.lined))
	for t := range s.lined {
		needy = append(needy, t)
	}
	heap.Init(&needy)
	place := map[*lane]int{}
	for n := 0; n < maxLeasedAtOnce && len(needy) > 0; {
		t := needy[0]
		l := s.next(t, now)
		if l == nil || !s.may(t) {
			heap.Pop(&needy)
			continue
		}
		t.line = append(t.line[1:], l)
		at, known := place[l]
		if !known {
			at = len(given)
			place[l] = at
			given = append(given, Asked{Lane: l.id, Out: l.out})
		}
		given[at].Slots++
		s.count(l, 1)
		t.turn = s.nextTurn()
		n++
		heap.Fix(&needy, 0)
	}
	for l := range place {
		l.asked = true
	}
	return given
}

// next is the first of the tenant's line that may have more out; the others leave it.
func (s *slots) next(t *share, now time.Time) *lane {
	for len(t.line) > 0 {
		l := t.line[0]
		if l.ready && !l.asked && l.room(s.limit, now) > 0 && !l.again.After(now) {
			return l
		}
		t.line, l.queued = t.line[1:], false
		s.line(l, now)
	}
	delete(s.lined, t)
	return nil
}

// canAsk reports whether there is a slot for something that is ready.
func (s *slots) canAsk(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dueAgain(now)
	found := false
	for t := range s.lined { // all of them, so that what is done does not depend on the order of a map
		if s.may(t) && s.next(t, now) != nil {
			found = true
		}
	}
	return found
}

// retryLane is how long a lane is left alone from which another process is leasing right now.
const retryLane = 20 * time.Millisecond

// answered counts what the lanes that were asked gave, and frees the slots that they did not use.
func (s *slots) answered(asked []Asked, answer LeaseAnswer, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := map[Lane]int{}
	for _, l := range answer.Leased {
		got[l.Lane()]++
	}
	for _, a := range asked {
		l := s.of(a.Lane)
		rest, any := answer.Lanes[a.Lane]
		if l.asked, l.behind = false, rest.More; any {
			l.allowed = rest.MaxInFlight
			s.weigh(a.Tenant, rest.Weight)
		}
		if rest.More && got[a.Lane] == 0 && rest.MaxInFlight > a.Out {
			s.lookAgain(l, now.Add(retryLane))
		}
		ready := rest.More || l.renewed
		l.renewed = false
		s.setReady(l, ready, now)
		s.count(l, got[a.Lane]-a.Slots)
		s.line(l, now)
	}
}

// notAnswered frees the slots of a lease that failed.
func (s *slots) notAnswered(asked []Asked, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range asked {
		l := s.of(a.Lane)
		l.asked, l.renewed = false, false
		s.count(l, -a.Slots)
		s.line(l, now)
	}
}

func (s *slots) free(id Lane, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(id)
	s.count(l, -1)
	s.line(l, now)
}

// nextLook is when the next lane is to be looked at again; zero for none.
func (s *slots) nextLook() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.later) > 0 {
		if entry := s.later[0]; entry.lane.ready && entry.lane.again.Equal(entry.at) {
			return entry.at
		}
		heap.Pop(&s.later)
	}
	return time.Time{}
}

func (s *slots) inFlight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out
}

func (s *slots) mayKnowMore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lanes) < maxKnownLanes
}
