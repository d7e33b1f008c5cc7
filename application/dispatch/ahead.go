package dispatch

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// A lane may lease more than it may have out: what waits in memory starts as soon as an attempt ends, without a round trip, and
// one lease brings many. It is held only briefly, since it is sent as the subscription was when it was leased and no other
// process can send it meanwhile, and only for a receiver that is well.
const (
	// holdFor is how long a delivery that has arrived waits for a slot before it is given back: its subscription may have changed.
	holdFor = HeartbeatTimeout / 10
	// leasedFor is how long after its lease an attempt may begin, so that nothing is sent whose lease may have run out. A slow
	// database takes its part of that before the delivery arrives, and must not keep it from being sent at all.
	leasedFor = HeartbeatTimeout / 2
	// aheadOfSlots is how many deliveries a process may hold for each of its slots.
	aheadOfSlots = 4
	// maxHeldBytes bounds the bodies that are held; one lease may go beyond it.
	maxHeldBytes = 16 << 20

	// A lane's credit is how many deliveries it may hold. Each success that began soon after its lease adds one, up to
	// mostCredit; each that waited long takes one away. So a lane holds what it sends in an eighth to a quarter of a second, at most.
	firstCredit = 64
	mostCredit  = 1024
	// mostHanded is how many deliveries that fan-out has handed over may wait for each tenant, or the number of slots where
	// that is less: about what fan-out schedules in one go (500).
	mostHanded = 512
	// takenSoon is how soon a receiver that answers as it usually does takes all that is held for it. That is longer than a lease takes; what
	// would wait for longer finds a slot in another process at once, if there is one. What is held for a quick one waits for this process's
	// CPU rather than for the receiver, and is bounded by the credit alone.
	takenSoon = 50 * time.Millisecond
	quick     = takenSoon / 2
	// lostCredit is the credit after a failure: that many successes have to follow before anything is held again.
	lostCredit = -64
)

// compare puts the older first.
func (l Leased) compare(other Leased) int {
	return cmp.Or(l.Delivery.DueAt.Compare(other.Delivery.DueAt), cmp.Compare(l.Delivery.ID, other.Delivery.ID))
}

// holds reports whether the lane may hold anything. It may not when slots are short, so that tenants get them by their shares,
// nor when its receiver is being spared, which gets what it may have and no more.
func (s *slots) holds(l *lane) bool {
	return l.allowed > 0 && !l.circuit.Known() && 2*s.out <= s.limit && s.heldBytes < maxHeldBytes
}

// spare is how many more may be leased ahead in the lane.
func (s *slots) spare(l *lane) int {
	if !s.holds(l) {
		return 0
	}
	return min(s.mayHold(l)-l.ahead(), s.most-s.leased)
}

// room is how many of the tenant's deliveries fan-out may hand over: none until half of those it may have has begun, so that
// many are handed over together. It is math.MaxInt when others are in the tenant's way, since waiting for them would help
// nobody.
func (s *slots) room(owner tenant.ID) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	most := min(mostHanded, s.limit)
	if s.closed || 2*s.out > s.limit || s.most-s.leased < most {
		return math.MaxInt
	}
	handed := 0
	if t := s.tenants[owner]; t != nil {
		handed = t.handed
	}
	if 2*handed > most {
		return 0
	}
	return most - handed
}

// mayHand reports whether fan-out may hand over one more of the lane's deliveries that has to wait for its slot. A lane with a
// slow receiver holds no more of these than it may hold of what is leased.
func (s *slots) mayHand(l *lane) bool {
	most := s.mayHold(l)
	return s.holds(l) && (l.ahead() < most || most >= firstCredit && s.shareOf(l.id.Tenant).handed < min(mostHanded, s.limit))
}

// mayHold is how many the lane may hold: what its receiver takes soon, unless that is quick or not known yet, or nobody else sends. A lane of so
// few slots that this is not even one holds one, as each slot would else be free for as long as a lease takes after every attempt; but not
// where one would wait for more than half of holdFor.
func (s *slots) mayHold(l *lane) int {
	usual, slots := l.circuit.Usual(), time.Duration(l.allowed)
	switch {
	case s.alone() || usual < quick:
		return l.credit
	case usual > slots*takenSoon && usual <= slots*holdFor/2:
		return min(l.credit, 1)
	default:
		return min(l.credit, int(slots*takenSoon/usual))
	}
}

// ahead is how many are held or about to be.
func (l *lane) ahead() int { return len(l.held) + l.coming }

// promise counts one that is to be leased, with a slot or ahead of one.
func (s *slots) promise(l *lane, slot bool) {
	s.leased++
	if slot {
		l.promised++
		s.count(l, 1)
		return
	}
	s.addAhead(l, 1)
	l.coming++
}

// unpromise takes back n promises of which nothing came.
func (s *slots) unpromise(l *lane, n int) {
	s.leased -= n
	ahead := min(l.coming, n)
	l.coming -= ahead
	s.addAhead(l, -ahead)
	l.promised -= n - ahead
	s.count(l, ahead-n)
	l.clear()
}

// arrive holds what came of the promised number, and begins what may begin.
func (s *slots) arrive(l *lane, came []Leased, promised int, now time.Time, leasedAt time.Time) []Leased {
	s.unpromise(l, promised-len(came))
	slots := min(l.promised, len(came))
	l.promised -= slots
	l.coming -= len(came) - slots
	s.addAhead(l, slots) // all of them are held for a moment
	for _, c := range came {
		c.leasedAt, c.since = leasedAt, now
		s.hold(l, c)
	}
	s.count(l, -slots)
	l.clear()
	return s.begin(l, slots, now)
}

// change makes sure that nothing leased so far is sent, unless its attempt has begun.
func (l *lane) change() {
	l.changes++
	l.suspect = true
	l.clear()
}

// clear trusts the lane again once nothing is left that was leased before its subscription changed.
func (l *lane) clear() { l.suspect = l.suspect && l.ahead()+l.promised > 0 }

// hold keeps the lane's order: the oldest first.
func (s *slots) hold(l *lane, w Leased) {
	s.heldBytes += len(w.Body)
	s.holding[l] = true
	at := len(l.held)
	if at > 0 && l.held[at-1].compare(w) > 0 {
		at, _ = slices.BinarySearchFunc(l.held, w, Leased.compare)
	}
	l.held = slices.Insert(l.held, at, w)
}

// begin starts what is held as far as there is room: first on the slots that were promised, then only on slots that nobody
// waits for.
func (s *slots) begin(l *lane, promised int, now time.Time) (begun []Leased) {
	for s.mayBegin(l, now) && (promised > 0 || !l.circuit.Known() && 2*s.out <= s.limit) {
		begun = append(begun, s.pop(l, now))
		promised--
	}
	s.line(l, now)
	return begun
}

// mayBegin reports whether the lane's next is to be sent as soon as it gets a slot.
func (s *slots) mayBegin(l *lane, now time.Time) bool {
	return len(l.held) > 0 && l.left(s.limit, now) > 0 && !s.closed && !l.suspect && l.held[0].fresh(now)
}

// fresh reports whether it may still be sent; if the clock was set back it may not.
func (l Leased) fresh(now time.Time) bool {
	leased, waited := now.Sub(l.leasedAt), now.Sub(l.since)
	return leased >= 0 && leased <= leasedFor && waited >= 0 && waited <= holdFor
}

// freshUntil is the last time at which it is fresh.
func (l Leased) freshUntil() time.Time {
	return earlier(l.leasedAt.Add(leasedFor), l.since.Add(holdFor))
}

// pop gives a slot to the first that is held.
func (s *slots) pop(l *lane, now time.Time) Leased {
	w := l.held[0]
	l.held[0] = Leased{}
	l.held = l.held[1:]
	s.heldBytes -= len(w.Body)
	s.addAhead(l, -1)
	if len(l.held) == 0 {
		l.held = nil
		delete(s.holding, l)
	}
	s.count(l, 1)
	s.unhand(&w)
	w.waited, w.changes, w.receiver, w.Unanswered = now.Sub(w.since), l.changes, l.receiver, l.silent
	w.Spared = l.circuit.Report() != circuit.Report{}
	return w
}

func (s *slots) unhand(w *Leased) {
	if w.handed {
		w.handed = false
		s.shareOf(w.Delivery.Tenant).handed--
	}
}

// earn adjusts the credit by an attempt that ended.
func (l *lane) earn(r Result) {
	switch {
	case l.circuit.Known():
		l.credit = lostCredit
	case !r.Outcome.Succeeded():
	case r.Leased.waited <= holdFor/4:
		l.credit = min(l.credit+1, mostCredit)
	case r.Leased.waited > holdFor/2:
		l.credit = max(l.credit-1, 0)
	}
}

// changed notes that the lane's subscription has changed.
func (s *slots) changed(id Lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.lanes[id]; l != nil {
		l.change()
	}
}

// spoiled reports whether what the lane holds is to be given back.
func (s *slots) spoiled(l *lane, now time.Time) bool {
	return len(l.held) > 0 && (s.closed || l.suspect || l.circuit.Known() || !l.held[0].fresh(now))
}

// giveBack takes out what this process is not to send: all that the lane holds, since nothing may overtake what is given back.
// Nothing else of the lane is leased until that is done.
func (s *slots) giveBack(now time.Time) []Leased {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range slices.SortedFunc(maps.Keys(s.holding), func(a, b *lane) int { return a.id.Compare(b.id) }) {
		if s.spoiled(l, now) {
			s.takeOut(l, now)
		}
	}
	back := s.returning
	s.returning = nil
	return back
}

func (s *slots) takeOut(l *lane, now time.Time) {
	if !l.held[0].fresh(now) {
		l.credit = min(l.credit, 0)
	}
	for _, w := range l.held {
		s.unhand(&w)
		s.returning = append(s.returning, w)
		s.heldBytes -= len(w.Body)
	}
	l.returning += len(l.held)
	l.held = nil
	delete(s.holding, l)
	l.behind = true
	l.clear()
}

// notGivenBack keeps what could not be given back for another try.
func (s *slots) notGivenBack(list []Leased) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.returning = append(s.returning, list...)
}

// gaveBack makes the lanes ready again.
func (s *slots) gaveBack(list []Leased, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range list {
		l := s.of(g.Lane())
		s.leased--
		l.returning--
		s.addAhead(l, -1)
		if l.returning == 0 {
			s.found(l, now)
		}
	}
}

// nextGiveBack is when something is to be given back; zero for never.
func (s *slots) nextGiveBack(now time.Time) (next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.returning) > 0 {
		return now
	}
	for l := range s.holding {
		if s.spoiled(l, now) {
			return now
		}
		next = earlier(next, l.held[0].freshUntil().Add(time.Microsecond))
	}
	return next
}

// close begins nothing more of what is held.
func (s *slots) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

func (s *slots) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// putBack holds again what was begun and not attempted, as if it had never been begun.
func (s *slots) putBack(begun Leased) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.of(begun.Lane())
	l.suspect = l.suspect || l.changes != begun.changes
	s.addAhead(l, 1)
	s.hold(l, begun)
	s.count(l, -1)
}

// outdated reports whether what was begun must no longer be sent: its subscription has changed, or its lease may have run out.
func (s *slots) outdated(begun Leased, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of(begun.Lane()).changes != begun.changes || !begun.fresh(now)
}
