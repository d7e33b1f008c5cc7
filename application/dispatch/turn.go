package dispatch

import (
	"context"
	"fmt"
	"time"
)

// turn is one step of the dispatcher on its way.
type turn struct {
	*Dispatcher
	look     *LookRequest  // nil for none
	looked   time.Duration // how long that took
	back     []Leased      // to be given back
	asked    []Asked
	leasedAt time.Time
	found    LookAnswer
	leased   LeaseAnswer
	recorded recorded
	circuits []CircuitReport
}

// hasWork reports whether there is anything to look for or to lease, and takes the slots for it.
func (t *turn) hasWork() bool {
	if t.slots.isClosed() {
		return false
	}
	now := t.now()
	walk := t.slots.mayKnowMore() && t.round.due(now)
	if walk || t.round.mayLook(now) || !t.nextDue.IsZero() && !t.nextDue.After(now) {
		t.look = &LookRequest{Now: now}
		if walk {
			t.look.After, t.look.Lanes = t.round.after, maxLookedAtOnce
		}
	}
	t.ask(now)
	return t.look != nil || len(t.asked) > 0
}

// ask begins what is held as far as there are slots, and takes what else there is for the lease.
func (t *turn) ask(now time.Time) {
	asked, begun := t.slots.ask(now)
	t.asked = asked
	t.begin(begun)
}

// undo is the end of a turn that failed.
func (t *turn) undo() {
	t.slots.notAnswered(t.asked, t.now())
	t.slots.notGivenBack(t.back)
}

// run is done anew when the store finds that it met somebody else's transaction.
func (t *turn) run(ctx context.Context) (err error) {
	now := t.now()
	if t.recorded, err = t.record(ctx); err != nil {
		return err
	}
	if len(t.circuits) > 0 {
		if err := t.store.NoteCircuits(ctx, t.incarnation, t.circuits); err != nil {
			return fmt.Errorf("note %d circuits: %w", len(t.circuits), err)
		}
	}
	if len(t.back) > 0 {
		if err := t.store.GiveBack(ctx, t.incarnation, t.back); err != nil {
			return fmt.Errorf("give %d leases back: %w", len(t.back), err)
		}
	}
	if t.slots.isClosed() {
		return nil
	}
	if t.look != nil {
		began := t.now()
		if t.found, err = t.store.Look(ctx, *t.look); err != nil {
			return fmt.Errorf("look for what is ready: %w", err)
		}
		t.looked = t.now().Sub(began)
		t.slots.ready(t.found.Fallen, now)
		t.slots.ready(t.found.Ready, now)
	}
	t.slots.notAnswered(t.asked, now)
	if t.ask(now); len(t.asked) == 0 {
		return nil
	}
	t.leasedAt = now
	t.leased, err = t.store.LeaseReady(ctx, LeaseRequest{Lease: t.incarnation, Now: now, Lanes: t.asked})
	if err != nil {
		return fmt.Errorf("lease: %w", err)
	}
	return nil
}

// end forgets what was recorded, and starts what was leased.
func (t *turn) end(ctx context.Context) {
	now := t.now()
	for status, n := range t.recorded.ended {
		t.observer.DeliveriesEnded(ctx, status, n)
	}
	for _, id := range t.recorded.stale {
		t.observer.StaleLease(ctx, id)
	}
	t.slots.settled(len(t.unsaved))
	clear(t.unsaved)
	t.unsaved = t.unsaved[:0]
	t.slots.told(t.circuits)
	t.slots.gaveBack(t.back, now)
	t.back = nil
	t.begin(t.slots.answered(t.asked, t.leased, t.leasedAt, now))
	t.asked = nil
	if t.look == nil {
		return
	}
	t.nextDue = t.found.NextDue
	if !t.nextDue.IsZero() && !t.nextDue.After(now) && len(t.found.Fallen) == 0 {
		t.nextDue = now.Add(retryLane) // another process is making it ready
	}
	if t.look.Lanes > 0 {
		t.round.walked(t.found.Ready, now, t.looked)
	}
	t.round.looked(now, t.looked)
}

// round is a walk over all lanes that have something ready, a bounded part of it a turn. It finds what other
// processes, sweeps and requests made ready. While there is room for no more lanes it stands still, and what falls due is looked
// for all the same.
type round struct {
	running bool
	wanted  bool          // another one is to follow
	asked   bool          // since the last look
	after   string        // where this one has come to
	took    time.Duration // this one, so far
	rested  time.Time     // before it no other is begun
}

// restShare keeps the walks to a small part of the time. A rest is never longer than longestRest: where it seems to be, the
// clock was set, during a look or since.
const (
	restShare   = 10
	longestRest = time.Minute
)

// ask wants a round that begins from now on.
func (r *round) ask() { r.wanted, r.asked = true, true }

// mayLook reports whether a look was asked for and is due, were it no part of a round.
func (r *round) mayLook(now time.Time) bool { return r.asked && !r.rests(now) }

func (r *round) due(now time.Time) bool {
	if !r.running && r.wanted && !r.rests(now) {
		*r = round{running: true, asked: r.asked}
	}
	return r.running
}

func (r *round) rests(now time.Time) bool {
	left := r.rested.Sub(now)
	return left > 0 && left <= longestRest
}

// next is when the next look is due, whether more lanes may be known or not; zero when none is wanted.
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

// looked notes that nothing has fallen due that is not known. What was asked for rests as a round does.
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
