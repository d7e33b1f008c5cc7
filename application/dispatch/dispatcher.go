package dispatch

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Bounds of one step; the rest follows at once in the next.
const (
	maxLeasedAtOnce   = 256
	maxLookedAtOnce   = 256 // lanes
	maxRecordedAtOnce = 500
)

// maxKnownLanes bounds what a process remembers: while that many lanes have something to do, it looks for no others.
const maxKnownLanes = 50_000

// Dispatcher keeps the slots of this process filled with what is due, and records what came of it.
type Dispatcher struct {
	store       Store
	disabler    Disabler
	observer    Observer
	now         func() time.Time
	jitter      func() float64
	incarnation string

	slots   *slots
	started chan Leased // to be attempted; each has a slot
	done    chan Result // attempted, and not recorded yet
	wake    loop.Signal
	asked   atomic.Bool // somebody knows of something that is due

	// Only the step uses these.
	unsaved []Result  // taken from done, and not committed yet
	round   round     // over all lanes
	nextDue time.Time // the next that falls due; zero for none
	// undisabled is why the last step could not disable subscriptions that should be.
	undisabled error
}

// Config is what a dispatcher is made of.
type Config struct {
	Store       Store
	Disabler    Disabler
	Observer    Observer
	Now         func() time.Time
	Jitter      func() float64 // in [0, 1)
	Incarnation string
	MaxInFlight int         // attempts at once in this process
	Alone       func() bool // reports that no other process may send; nil for never
}

// New makes a dispatcher, which begins by looking for what is due.
func New(c Config) *Dispatcher {
	slots := newSlots(c.MaxInFlight)
	if c.Alone != nil {
		slots.alone = c.Alone
	}
	d := &Dispatcher{
		store: c.Store, disabler: c.Disabler, observer: c.Observer, now: c.Now, jitter: c.Jitter, incarnation: c.Incarnation,
		slots: slots, started: make(chan Leased, c.MaxInFlight), done: make(chan Result, slots.most), wake: loop.NewSignal(),
	}
	d.asked.Store(true)
	return d
}

// Loop records and leases, in turns.
func (d *Dispatcher) Loop() loop.Loop { return loop.Loop{Name: "dispatch", Step: d.Step, Wake: d.wake} }

// Wake makes the next step look for what is due.
func (d *Dispatcher) Wake() {
	d.asked.Store(true)
	d.wake.Send()
}

// Started is the deliveries to attempt; each must end in Finish, Abandon or PutBack. It never holds more than there are slots.
func (d *Dispatcher) Started() <-chan Leased { return d.started }

// Outdated reports whether a delivery that came out of Started is to be put back instead of attempted: its subscription has
// changed since, or it has waited so long that another process may have taken it over.
func (d *Dispatcher) Outdated(l Leased) bool { return d.slots.outdated(l, d.now()) }

// PutBack takes back a delivery whose attempt was not begun.
func (d *Dispatcher) PutBack(l Leased) {
	d.slots.putBack(l)
	d.wake.Send()
}

// Forget gives a receiver another chance at once, because its endpoint was changed or the subscription was resumed; or it gets nothing
// any more, and is not to be counted.
func (d *Dispatcher) Forget(lane Lane) {
	d.slots.forget(lane, d.now())
	d.Wake()
}

// Circuits counts the receivers that are being spared, by state.
func (d *Dispatcher) Circuits() map[circuit.State]int { return d.slots.states(d.now()) }

// Changed makes sure that nothing of the lane is sent by its subscription's earlier state.
func (d *Dispatcher) Changed(lane Lane) {
	d.slots.changed(lane)
	d.wake.Send()
}

// InFlight is how many deliveries are out.
func (d *Dispatcher) InFlight() int { return d.slots.inFlight() }

// Unrecorded is how many outcomes wait to be recorded; only between two steps may it be asked.
func (d *Dispatcher) Unrecorded() int { return len(d.unsaved) + len(d.done) }

// Reserve promises to take a delivery that is being scheduled in this process.
func (d *Dispatcher) Reserve(lane Lane, maxInFlight int) (lease string, ok bool) {
	return d.incarnation, d.slots.reserve(lane, maxInFlight, d.now())
}

// Room is how many of the tenant's deliveries Reserve may take now; math.MaxInt when waiting for more room would help nobody.
func (d *Dispatcher) Room(owner tenant.ID) int { return d.slots.room(owner) }

// Waiting notes lanes in which deliveries were scheduled that got no slot.
func (d *Dispatcher) Waiting(lanes []Lane) {
	d.slots.ready(lanes, d.now())
	d.wake.Send()
}

// Take holds reserved deliveries once they are committed, or forgets them when they were not.
func (d *Dispatcher) Take(deliveries []Leased, committed bool) {
	d.begin(d.slots.take(deliveries, committed, d.now()))
	d.wake.Send()
}

// begin never blocks, since each has a slot.
func (d *Dispatcher) begin(deliveries []Leased) {
	for _, l := range deliveries {
		d.started <- l
	}
}

// Finish hands in the outcome of an attempt. What begins in its place is the caller's to attempt next, if there is more, unless its receiver
// does not answer; like all that comes out of Started it must end in Finish, Abandon or PutBack. Finish never blocks.
func (d *Dispatcher) Finish(l Leased, outcome delivery.Outcome) (next Leased, more bool) {
	r := Result{Leased: l, Outcome: outcome}
	d.done <- r
	begun := d.slots.ended(r, d.now())
	if more = len(begun) > 0 && !begun[0].Unanswered; more {
		next, begun = begun[0], begun[1:]
	}
	d.begin(begun)
	d.wake.Send()
	return next, more
}

// FinishTogether hands in many, to be recorded by one step: it is woken once all are handed in. What begins in their place comes out of
// Started.
func (d *Dispatcher) FinishTogether(results []Result) {
	for i := range results {
		results[i].madeUp = d.slots.madeUp(results[i])
		d.done <- results[i]
	}
	for _, r := range results {
		d.begin(d.slots.ended(r, d.now()))
	}
	d.wake.Send()
}

// Abandon frees the slot of an attempt that was cut off by the end of the process. Its delivery stays leased: whoever takes it
// over knows that the outcome is unknown.
func (d *Dispatcher) Abandon(l Leased) { d.slots.free(l.Lane(), d.now()) }

// Step writes the outcomes of attempts that ended, looks for what is ready, and leases for the free slots, all in one
// transaction. When it fails the outcomes are kept and written by a later step, so that nothing that was sent is sent again.
func (d *Dispatcher) Step(ctx context.Context) (time.Time, error) {
	if d.asked.Swap(false) {
		d.round.want()
	}
	d.slots.forgetLongest()
	s := &step{Dispatcher: d, circuits: d.slots.reports(), back: d.slots.giveBack(d.now())}
	defer s.undo()
	if !s.hasWork() && len(d.unsaved)+len(d.done)+len(s.circuits)+len(s.back) == 0 {
		return d.next(), nil
	}
	if err := d.store.InTx(ctx, s.run); err != nil {
		return time.Time{}, fmt.Errorf("record %d attempts and lease: %w", d.Unrecorded(), err)
	}
	s.end(ctx)
	if d.undisabled != nil {
		return time.Time{}, d.undisabled
	}
	return d.next(), nil
}

// next is when there is something to do again.
func (d *Dispatcher) next() time.Time {
	now := d.now()
	switch {
	case len(d.done) > 0:
		return now
	case d.slots.isClosed():
		return d.slots.nextGiveBack(now)
	case d.slots.canAsk(now):
		return now
	}
	next := earlier(earlier(d.nextDue, d.slots.nextLook()), d.slots.nextGiveBack(now))
	return earlier(next, d.round.next(now, d.slots.mayKnowMore()))
}

// earlier is the earlier of two times; zero means none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// StopLeasing takes nothing new, and gives back what is held; what is out is still attempted and recorded.
func (d *Dispatcher) StopLeasing() {
	d.slots.close()
	d.wake.Send()
}

// Close gives back what was leased and not attempted; nothing is leased from then on. Outcomes are still recorded.
func (d *Dispatcher) Close(ctx context.Context) error {
	d.StopLeasing()
	for len(d.started) > 0 {
		d.slots.putBack(<-d.started)
	}
	leased := d.slots.giveBack(d.now())
	if len(leased) == 0 {
		return nil
	}
	if err := d.store.GiveBack(ctx, d.incarnation, leased); err != nil {
		d.slots.notGivenBack(leased) // for another call of Close
		return fmt.Errorf("give %d leases back: %w", len(leased), err)
	}
	d.slots.gaveBack(leased, d.now())
	return nil
}
