package dispatch

import (
	"container/heap"
	"container/list"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

// slots shares out the attempts that this process makes at once: among tenants by their weights, and within a tenant among its
// lanes in turn.
//
// What a tenant does not use is lent to the others. A running attempt cannot be called back, and so neither can a loan. Instead
// a few slots are never lent: they go only to tenants with less than their share, counted as if one more tenant had come.
type slots struct {
	mu        sync.Mutex
	limit     int
	out       int
	leased    int // by this process, from the request until the outcome is recorded or the lease given back
	most      int // the bound on leased
	lanes     map[Lane]*lane
	known     int        // the bound on lanes
	idle      *list.List // lanes kept for what is known of their receiver alone, the longest idle first; some are idle no more
	tenants   map[tenant.ID]*share
	lined     map[*share]bool   // tenants with lanes in line
	weights   map[tenant.ID]int // other than the default, as the last lease saw them
	weight    int               // of all tenants that have something leased or ready
	turns     int               // that tenants have had
	later     byTime
	unpaused  time.Time      // up to when pauses have been ended, by the step's clock
	untold    map[*lane]bool // lanes with circuit news to report
	holding   map[*lane]bool // lanes that hold something
	heldBytes int            // of bodies
	returning []Leased       // taken out of what was held, to be given back
	alone     func() bool    // see Config
	closed    bool           // nothing more is leased, and nothing held is begun
}

// 1/keptBack of the slots is never lent: few, since a tenant whose receivers answer needs few.
const keptBack = 64

func newSlots(limit int) *slots {
	return &slots{limit: limit, alone: func() bool { return false }, most: (1 + aheadOfSlots) * limit, lanes: map[Lane]*lane{}, known: maxKnownLanes, idle: list.New(),
		tenants: map[tenant.ID]*share{}, lined: map[*share]bool{}, weights: map[tenant.ID]int{}, untold: map[*lane]bool{}, holding: map[*lane]bool{}}
}

// isFull reports whether nobody gets anything before an attempt ends: no slot is free, and nothing is leased ahead while half of them are
// taken. Tens of thousands of tenants may wait then, and to go through them would keep those from being recorded that end.
func (s *slots) isFull() bool { return s.out >= s.limit }

// may reports whether the tenant may have one more out.
func (s *slots) may(t *share) bool {
	if s.out < s.limit-s.limit/keptBack {
		return true
	}
	withNewcomer := s.weight + tenant.DefaultWeight
	return s.out < s.limit && t.out < max(1, s.limit*t.weight/withNewcomer)
}

// reserve promises a slot, or a place ahead of one, unless older deliveries of the lane wait or there is no room. A lane that
// is refused is noted as having something ready.
func (s *slots) reserve(id Lane, maxInFlight int, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	l := s.of(id)
	l.allowed = maxInFlight
	slot := l.ahead() == 0 && l.out < maxInFlight && s.may(s.shareOf(id.Tenant))
	if l.ready || l.asked || l.suspect || l.returning > 0 || s.leased >= s.most || !slot && !s.mayHand(l) {
		s.found(l, now)
		return false
	}
	s.promise(l, slot)
	s.shareOf(id.Tenant).handed++
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

// shareOut shares the free slots among lanes that hold something or have something ready, one at a time to the tenant with the
// least for its weight. Then it asks lanes that may hold more for that. What is to be leased stays promised until answered or
// notAnswered.
func (s *slots) shareOut(now time.Time) (asked []Asked, begun []Leased) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endPauses(now)
	if s.isFull() {
		return nil, nil
	}
	g := giving{slots: s, now: now, left: maxLeasedAtOnce, place: map[*lane]int{}}
	g.give()
	return g.asked, g.begun
}

// endPauses ends those that are over; all of them when the clock was set back, since nobody knows which are.
func (s *slots) endPauses(now time.Time) {
	if now.Before(s.unpaused) {
		paused := s.later
		s.later = nil
		for _, p := range paused {
			if p.lane.again.Equal(p.at) {
				p.lane.again = time.Time{}
				s.line(p.lane, now)
			}
		}
	}
	s.unpaused = now
	s.dueAgain(now)
}

// giving is one round of sharing out.
type giving struct {
	*slots
	now   time.Time
	left  int // how many more may be asked for or begun
	asked []Asked
	place map[*lane]int // in asked
	begun []Leased
}

func (g *giving) give() {
	needy := make(byNeed, 0, len(g.lined))
	for t := range g.lined {
		needy = append(needy, t)
	}
	heap.Init(&needy)
	for g.left > 0 && len(needy) > 0 && g.leased < g.most {
		t := needy[0]
		l, move := g.first(t, g.now)
		if move == nothing || move != leaseAhead && !g.may(t) {
			heap.Pop(&needy)
			continue
		}
		t.line.MoveToBack(l.place)
		if move == beginHeld {
			g.left--
			g.begun = append(g.begun, g.pop(l, g.now))
		} else {
			g.askFor(l, move)
		}
		t.turn = g.nextTurn()
		heap.Fix(&needy, 0)
	}
	for l := range g.place {
		l.asked = true
	}
}

// inARow is how many deliveries a lane is asked for in its turn while slots are plenty and its last lease left some behind.
// Looking into a lane costs a store as much as several of its deliveries, and deliveries of one lane lie together.
const inARow = 8

// askFor asks the lane for its next delivery, and for those that may follow it in a row.
func (g *giving) askFor(l *lane, move move) {
	for n := 0; move == leaseForSlot || move == leaseAhead; move = g.next(l, g.now) {
		g.left--
		g.request(l, move)
		if n++; n == inARow || !l.behind || 2*g.out > g.limit || g.left == 0 || g.leased >= g.most {
			return
		}
	}
}

func (g *giving) request(l *lane, move move) {
	at, known := g.place[l]
	if !known {
		at = len(g.asked)
		g.place[l], l.turn = at, g.shareOf(l.id.Tenant).turn
		g.asked = append(g.asked, Asked{Lane: l.id, Out: l.out})
	}
	g.asked[at].Slots++
	if move == leaseAhead {
		g.asked[at].Out-- // it is asked for beyond what the subscription allows
		l.filling = true
	}
	g.promise(l, move == leaseForSlot)
}

// first is the first lane in the tenant's line that has something to do; those before it leave the line.
func (s *slots) first(t *share, now time.Time) (*lane, move) {
	for e := t.line.Front(); e != nil; e = t.line.Front() {
		l := e.Value.(*lane)
		if m := s.next(l, now); m != nothing {
			return l, m
		}
		t.line.Remove(e)
		l.place = nil
		s.line(l, now)
	}
	delete(s.lined, t)
	return nil, nothing
}

// canAsk reports whether there is something to begin or to lease.
func (s *slots) canAsk(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endPauses(now)
	if s.isFull() {
		return false
	}
	found := false
	for t := range s.lined { // all of them, so that what is done does not depend on the order of a map
		_, move := s.first(t, now)
		found = found || s.leased < s.most && (move == leaseAhead || move != nothing && s.may(t))
	}
	return found
}

// retryLane is how long a lane is left alone that gave nothing though something is ready in it: another process is leasing from
// it, or more of it is out than its subscription now allows.
const retryLane = 20 * time.Millisecond

// answered takes in what the lanes that were asked gave, takes back what was promised in vain, and returns what begins.
func (s *slots) answered(asked []Asked, answer LeaseAnswer, leasedAt, now time.Time) (begun []Leased) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got := byLane(answer.Leased)
	for _, a := range asked {
		l := s.of(a.Lane)
		rest, any := answer.Lanes[a.Lane]
		if l.asked, l.filling, l.behind = false, false, rest.More; any {
			l.allowed = rest.MaxInFlight
			s.weigh(a.Tenant, rest.Weight)
		}
		if rest.More && len(got[a.Lane]) == 0 {
			s.lookAgain(l, now.Add(retryLane))
		}
		ready := rest.More || l.renewed
		l.renewed = false
		s.setReady(l, ready, now)
		begun = append(begun, s.arrive(l, got[a.Lane], a.Slots, now, leasedAt)...)
		s.drop(l)
	}
	return begun
}

// notAnswered takes back what was promised to a lease that failed or was not made, and the turns that it took: who lost one at each
// step would never be served while all slots are taken.
func (s *slots) notAnswered(asked []Asked, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range slices.Backward(asked) {
		l := s.of(a.Lane)
		l.asked, l.filling, l.renewed = false, false, false
		s.unpromise(l, a.Slots)
		s.line(l, now)
		if l.place != nil {
			t := s.shareOf(a.Tenant)
			t.turn = l.turn
			t.line.MoveToFront(l.place)
		}
	}
}

// take holds what was reserved and returns what of it begins; when it was not committed there is nothing to hold.
func (s *slots) take(deliveries []Leased, committed bool, now time.Time) (begun []Leased) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := byLane(deliveries)
	for _, id := range slices.SortedFunc(maps.Keys(of), Lane.Compare) {
		l := s.of(id)
		if committed {
			for i := range of[id] {
				of[id][i].handed = true
			}
			begun = append(begun, s.arrive(l, of[id], len(of[id]), now, now)...)
			continue
		}
		s.shareOf(id.Tenant).handed -= len(of[id])
		s.unpromise(l, len(of[id]))
		s.line(l, now)
	}
	return begun
}

// byLane groups deliveries by lane and keeps their order. Runs of one lane are not copied.
func byLane(deliveries []Leased) map[Lane][]Leased {
	of := map[Lane][]Leased{}
	for len(deliveries) > 0 {
		id, n := deliveries[0].Lane(), 1
		for n < len(deliveries) && deliveries[n].Lane() == id {
			n++
		}
		if first := deliveries[:n:n]; of[id] == nil {
			of[id] = first
		} else {
			of[id] = append(of[id], first...)
		}
		deliveries = deliveries[n:]
	}
	return of
}

// ended frees the slot of an attempt, learns from its outcome, and returns what begins in its place.
func (s *slots) ended(r Result, now time.Time) []Leased {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(r.Leased.Lane())
	if r.Leased.receiver == l.receiver { // what an earlier one answered says nothing of this one
		l.learn(r, now)
		l.earn(r)
		if !r.madeUp {
			l.silent = !r.Outcome.Answered()
		}
		if end := r.Outcome.EndedAt(); r.Outcome.Succeeded() && (end.After(l.succeeded) || l.succeeded.After(now)) { // or the clock was set back
			l.succeeded = end
		}
		s.toTell(l)
	}
	s.count(l, -1)
	begun := s.begin(l, 0, now)
	s.drop(l)
	return begun
}

// settled counts outcomes as recorded.
func (s *slots) settled(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leased -= n
}

// free frees the slot of an attempt with nothing to record.
func (s *slots) free(id Lane, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(id)
	s.leased--
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

// mayKnowMore reports whether there is room for lanes not known yet, now or once others are forgotten.
func (s *slots) mayKnowMore() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.lanes) < s.known || s.idle.Len() > 0
}
