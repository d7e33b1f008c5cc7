package dispatch

import (
	"cmp"
	"container/heap"
	"container/list"
	"time"

	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// lane is what this process knows of one subscription's queue.
type lane struct {
	id      Lane
	out     int  // attempts, and slots that are promised
	ready   bool // something in it is due, and nobody holds it
	renewed bool // it became ready again while it was asked
	asked   bool // a lease of it is under way
	behind  bool // its last lease left something due
	allowed int  // in flight, by its subscription when last seen; 0 before that
	circuit circuit.Circuit
	told    circuit.Report // what was last stored of the circuit
	again   time.Time      // when to look at it again: its circuit is open, or another process leases from it

	promised  int      // slots for what is being leased
	coming    int      // how many are being leased ahead
	held      []Leased // leased ahead, the oldest first
	returning int      // taken out of held, and not given back yet
	credit    int      // how many may be held; below zero it has to be earned first
	filling   bool     // it is being leased ahead until its credit is used up
	suspect   bool     // its subscription has changed since what it holds or awaits was leased

	changes  int  // of its subscription
	receiver int  // how often its receiver was forgotten
	silent   bool // the last attempt brought no answer

	succeeded time.Time // when the last success of its receiver ended

	place *list.Element // in its tenant's line; nil when it does not stand there
	idle  *list.Element // its place in slots.idle; nil when it has none
	turn  int           // its tenant's, before the lease that is under way took the next
}

// left is how many more may be out; below zero when its subscription has come to allow less. A circuit holds back only a
// backlog: without one, what is due is sent when it is due.
func (l *lane) left(processLimit int, now time.Time) int {
	allowed := processLimit
	if l.allowed > 0 {
		allowed = l.allowed
	}
	switch {
	case !l.behind:
	case l.circuit.Wait(now) > 0:
		allowed = 0
	default:
		allowed = l.circuit.Limit(allowed, now)
	}
	return allowed - l.out
}

// share is one tenant's part of the slots, kept while it has something out or ready.
type share struct {
	tenant tenant.ID
	weight int
	out    int
	ahead  int       // leased or being leased, beyond what is out
	handed int       // by fan-out, and not begun yet
	ready  int       // lanes
	line   list.List // lanes that may have more out, the longest waiting first
	turn   int       // when it last had one; arriving counts as one
}

// byNeed is a heap of tenants, the one with the least for its weight first; among equals, the one whose last turn is longer
// ago.
type byNeed []*share

func (t *share) has() int { return t.out + t.ahead }

func (h byNeed) Len() int { return len(h) }
func (h byNeed) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(h[i].has()*h[j].weight, h[j].has()*h[i].weight), cmp.Compare(h[i].turn, h[j].turn)) < 0
}
func (h byNeed) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byNeed) Push(x any)   { *h = append(*h, x.(*share)) }
func (h *byNeed) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// byTime is a heap of lanes to look at again, the soonest first. A lane may be in it more than once; its own time says which
// entry counts.
type byTime []timed

type timed struct {
	at   time.Time
	lane *lane
}

func (h byTime) Len() int { return len(h) }
func (h byTime) Less(i, j int) bool {
	return cmp.Or(h[i].at.Compare(h[j].at), h[i].lane.id.Compare(h[j].lane.id)) < 0
}
func (h byTime) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *byTime) Push(x any)   { *h = append(*h, x.(timed)) }
func (h *byTime) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// of is the lane, which is known from now on until it is dropped.
func (s *slots) of(id Lane) *lane {
	l := s.lanes[id]
	if l == nil {
		l = &lane{id: id, credit: firstCredit}
		s.lanes[id] = l
	}
	return l
}

// shareOf is the tenant's share, which counts among the shares from now on.
func (s *slots) shareOf(id tenant.ID) *share {
	t := s.tenants[id]
	if t == nil {
		t = &share{tenant: id, weight: s.weightOf(id), turn: s.nextTurn()}
		s.tenants[id] = t
		s.weight += t.weight
	}
	return t
}

func (s *slots) nextTurn() int {
	s.turns++
	return s.turns
}

func (s *slots) weightOf(id tenant.ID) int {
	if weight := s.weights[id]; weight > 0 {
		return weight
	}
	return tenant.DefaultWeight
}

// weigh notes the tenant's weight. A tenant with no lane leased from since the start counts with the default: weights matter
// only when slots are short, and then there are leases.
func (s *slots) weigh(id tenant.ID, weight int) {
	if s.weights[id] = weight; weight == tenant.DefaultWeight {
		delete(s.weights, id)
	}
	if t := s.tenants[id]; t != nil {
		s.weight += weight - t.weight
		t.weight = weight
	}
}

// count adds n, which may be negative, to what the lane has out.
func (s *slots) count(l *lane, n int) {
	t := s.shareOf(l.id.Tenant)
	l.out, t.out, s.out = l.out+n, t.out+n, s.out+n
	s.drop(l)
}

// addAhead adds n, which may be negative, to what the lane's tenant has leased beyond what is out.
func (s *slots) addAhead(l *lane, n int) {
	s.shareOf(l.id.Tenant).ahead += n
}

// setReady notes whether something waits in the lane.
func (s *slots) setReady(l *lane, ready bool, now time.Time) {
	if l.ready != ready {
		t := s.shareOf(l.id.Tenant)
		if l.ready = ready; ready {
			t.ready++
		} else {
			t.ready--
		}
	}
	s.line(l, now)
	s.drop(l)
}

// move is what to do next for a lane.
type move int

const (
	nothing move = iota
	beginHeld
	leaseForSlot
	leaseAhead
)

// next is the lane's next move, if its tenant gets a slot.
func (s *slots) next(l *lane, now time.Time) move {
	switch {
	case s.mayBegin(l, now) && !l.circuit.Known():
		return beginHeld
	case !l.ready || l.asked || l.suspect || l.returning > 0 || l.again.After(now):
		return nothing
	case l.left(s.limit, now) > len(l.held):
		return leaseForSlot
	case s.spare(l) > 0 && (l.filling || 2*l.ahead() <= s.mayHold(l)):
		return leaseAhead
	default:
		return nothing
	}
}

// line puts a lane with something to do into its tenant's line, or notes when to look at it again.
func (s *slots) line(l *lane, now time.Time) {
	if l.place != nil || l.asked {
		return
	}
	if s.next(l, now) != nothing {
		t := s.shareOf(l.id.Tenant)
		l.place = t.line.PushBack(l)
		s.lined[t] = true
		return
	}
	if wait := l.circuit.Wait(now); l.ready && l.behind && wait > 0 {
		s.lookAgain(l, now.Add(wait))
	}
}

func (s *slots) lookAgain(l *lane, at time.Time) {
	if l.again.Equal(at) {
		return
	}
	l.again = at
	heap.Push(&s.later, timed{at, l})
}

// dueAgain lines up the lanes whose time has come.
func (s *slots) dueAgain(now time.Time) {
	for len(s.later) > 0 && !s.later[0].at.After(now) {
		entry := heap.Pop(&s.later).(timed)
		if l := entry.lane; l.again.Equal(entry.at) {
			l.again = time.Time{}
			s.line(l, now)
		}
	}
}

// drop forgets a lane, and a tenant, once there is nothing to remember.
func (s *slots) drop(l *lane) {
	if l.isIdle() {
		s.rest(l)
	}
	if t := s.tenants[l.id.Tenant]; t != nil && t.has() == 0 && t.ready == 0 {
		delete(s.tenants, t.tenant)
		delete(s.lined, t)
		s.weight -= t.weight
		for e := t.line.Front(); e != nil; e = e.Next() { // those in which nothing is ready any more
			e.Value.(*lane).place = nil
		}
	}
}

func (l *lane) isIdle() bool {
	return l.out+l.ahead()+l.returning == 0 && !l.ready && !l.asked
}

// rest forgets an empty lane, unless its receiver is remembered: then it becomes the last to make room for others.
func (s *slots) rest(l *lane) {
	s.awake(l)
	if !l.circuit.Known() && !l.silent && l.told == (circuit.Report{}) {
		delete(s.lanes, l.id)
		return
	}
	l.idle = s.idle.PushBack(l)
}

func (s *slots) awake(l *lane) {
	if l.idle != nil {
		s.idle.Remove(l.idle)
		l.idle = nil
	}
}

// forgetLongest forgets the receivers that have been idle longest while too many lanes are known. A lane whose last attempt
// failed would otherwise be remembered for ever if none followed, and in the end no other lane could be found. What was
// reported of it is taken back first.
func (s *slots) forgetLongest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for leaving := 0; len(s.lanes)-leaving >= s.known && s.idle.Len() > 0; {
		l := s.idle.Front().Value.(*lane)
		s.awake(l)
		if !l.isIdle() {
			continue
		}
		l.circuit, l.silent = circuit.Circuit{}, false
		if s.toTell(l); s.untold[l] {
			leaving++
			continue
		}
		s.drop(l)
	}
}
