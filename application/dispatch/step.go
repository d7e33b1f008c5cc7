package dispatch

import (
	"context"
	"fmt"
	"time"
)

// step is one step of the dispatcher on its way.
type step struct {
	*Dispatcher
	look     *LookRequest  // nil for none
	looked   time.Duration // how long the look took
	back     []Leased      // to be given back
	toLease  []Asked
	leasedAt time.Time
	found    LookAnswer
	leased   LeaseAnswer
	recorded recorded
	circuits []CircuitReport
}

// hasWork reports whether there is anything to look for or to lease, and takes the slots for it.
func (s *step) hasWork() bool {
	if s.slots.isClosed() {
		return false
	}
	now := s.now()
	walk := s.slots.mayKnowMore() && s.round.due(now)
	if walk || s.round.mayLook(now) || !s.nextDue.IsZero() && !s.nextDue.After(now) {
		s.look = &LookRequest{Now: now}
		if walk {
			s.look.After, s.look.Lanes = s.round.after, maxLookedAtOnce
		}
	}
	s.takeSlots(now)
	return s.look != nil || len(s.toLease) > 0
}

// takeSlots begins what is held as far as there are slots, and reserves the others for the lease.
func (s *step) takeSlots(now time.Time) {
	asked, begun := s.slots.shareOut(now)
	s.toLease = asked
	s.begin(begun)
}

// undo is the end of a step that failed.
func (s *step) undo() {
	s.slots.notAnswered(s.toLease, s.now())
	s.slots.notGivenBack(s.back)
}

// run is repeated when the store finds that it conflicted with another transaction.
func (s *step) run(ctx context.Context) (err error) {
	if s.recorded, err = s.record(ctx); err != nil {
		return err
	}
	if len(s.circuits) > 0 {
		if err := s.store.NoteCircuits(ctx, s.incarnation, s.circuits); err != nil {
			return fmt.Errorf("note %d circuits: %w", len(s.circuits), err)
		}
	}
	if len(s.back) > 0 {
		if err := s.store.GiveBack(ctx, s.incarnation, s.back); err != nil {
			return fmt.Errorf("give %d leases back: %w", len(s.back), err)
		}
	}
	if s.slots.isClosed() {
		return nil
	}
	now := s.now() // recording may have taken long, and a look may
	if s.look != nil {
		began := now
		if s.found, err = s.store.Look(ctx, *s.look); err != nil {
			return fmt.Errorf("look for what is ready: %w", err)
		}
		now = s.now()
		s.looked = now.Sub(began)
		s.slots.ready(s.found.Fallen, now)
		s.slots.ready(s.found.Ready, now)
	}
	s.slots.notAnswered(s.toLease, now)
	if s.takeSlots(now); len(s.toLease) == 0 {
		return nil
	}
	s.leasedAt = now
	s.leased, err = s.store.LeaseReady(ctx, LeaseRequest{Lease: s.incarnation, Now: now, Lanes: s.toLease})
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

// end forgets what was recorded, and starts what was leased.
func (s *step) end(ctx context.Context) {
	now := s.now()
	for status, n := range s.recorded.ended {
		s.observer.DeliveriesEnded(ctx, status, n)
	}
	for _, id := range s.recorded.stale {
		s.observer.StaleLease(ctx, id)
	}
	s.slots.settled(len(s.unsaved))
	clear(s.unsaved)
	s.unsaved = s.unsaved[:0]
	s.slots.told(s.circuits)
	s.slots.gaveBack(s.back, now)
	s.back = nil
	s.begin(s.slots.answered(s.toLease, s.leased, s.leasedAt, now))
	s.toLease = nil
	if s.look != nil {
		s.endLook(now)
	}
	s.nextDue = earlier(s.nextDue, s.recorded.due) // which comes in time although looks may rest for a minute
}

func (s *step) endLook(now time.Time) {
	s.nextDue = s.found.NextDue
	if !s.nextDue.IsZero() && !s.nextDue.After(now) && len(s.found.Fallen) == 0 {
		s.nextDue = now.Add(retryLane) // another process is making it ready
	}
	took := s.round.work(s.looked)
	if s.look.Lanes > 0 {
		s.round.walked(s.found.Ready, now, took)
	}
	s.round.looked(now, took)
}

// round is a walk over all lanes that have something ready, a bounded part of it in each step. It finds what other processes,
// sweeps and requests made ready. While there is no room for more lanes it stands still, and what falls due is looked for all
// the same.
type round struct {
	running bool
	wanted  bool          // another one is to begin after this one
	asked   bool          // for a look, since the last one
	after   string        // how far this one has come
	took    time.Duration // by this one so far
	usual   time.Duration // of the last look, as far as it was work
	rested  time.Time     // no other begins before
}

// A round rests restShare times as long as it took, which keeps the walks to a small part of the time, but never longer than
// longestRest: where a rest seems to be longer, the clock was set, during a look or since.
const (
	restShare   = 10
	longestRest = time.Minute
	// A look that takes longer than stall, and stallTimes as long as the one before, waited for a database that stood still: only so much of
	// it is work, or all that others made ready would wait for a minute more.
	stall      = 500 * time.Millisecond
	stallTimes = 4
)

// work is how much of the time that a look took it may have worked.
func (r *round) work(took time.Duration) time.Duration {
	r.usual = min(took, max(stall, stallTimes*r.usual))
	return r.usual
}

// want asks for a round that begins from now on.
func (r *round) want() { r.wanted, r.asked = true, true }

// mayLook reports whether a look was asked for and is due, even outside a round.
func (r *round) mayLook(now time.Time) bool { return r.asked && !r.rests(now) }

func (r *round) due(now time.Time) bool {
	if !r.running && r.wanted && !r.rests(now) {
		*r = round{running: true, asked: r.asked, usual: r.usual}
	}
	return r.running
}

func (r *round) rests(now time.Time) bool {
	left := r.rested.Sub(now)
	return left > 0 && left <= longestRest
}

// next is when the next look is due, given whether more lanes may be known; zero when none is wanted.
func (r *round) next(now time.Time, mayKnowMore bool) time.Time {
	switch {
	case r.running && mayKnowMore:
		return now
	case !r.asked && !(r.wanted && mayKnowMore):
		return time.Time{}
	case r.rests(now):
		return r.rested
	default:
		return now
	}
}

// looked notes that everything due is known. A look that was asked for is followed by a rest, as a round is.
func (r *round) looked(now time.Time, took time.Duration) {
	if r.mayLook(now) {
		r.rest(now, took)
	}
	r.asked = false
}

func (r *round) rest(now time.Time, took time.Duration) {
	r.rested = now.Add(min(restShare*took, longestRest))
}

// walked notes how far the round has come.
func (r *round) walked(lanes []Lane, now time.Time, took time.Duration) {
	r.took += took
	if len(lanes) == maxLookedAtOnce {
		r.after = lanes[len(lanes)-1].SubscriptionID
		return
	}
	r.running = false
	r.rest(now, r.took)
}
