package dispatch

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Bounds of one turn; what is more follows in the next, at once.
const (
	maxLeasedAtOnce   = 256
	maxRecordedAtOnce = 500
)

// Dispatcher keeps the slots of this process filled with what is due, and records what came of it.
type Dispatcher struct {
	store       Store
	disabler    Disabler
	observer    Observer
	now         func() time.Time
	jitter      func() float64
	incarnation string

	slots   *slots
	started chan Leased // leased, and not attempted yet
	done    chan result // attempted, and not recorded yet
	wake    loop.Signal
	asked   atomic.Bool // somebody knows of something that is due
	closing atomic.Bool // nothing is leased any more

	// Of the step alone.
	unsaved []result  // taken from done by a turn that has not succeeded yet
	after   Lane      // the lane that the last lease ended with
	nextDue time.Time // of what nobody holds; zero for none
}

// Config is what a dispatcher is made of.
type Config struct {
	Store       Store
	Disabler    Disabler
	Observer    Observer
	Now         func() time.Time
	Jitter      func() float64 // in [0, 1)
	Incarnation string
	MaxInFlight int // attempts at once in this process
}

// New makes a dispatcher, which begins by looking for what is due.
func New(c Config) *Dispatcher {
	d := &Dispatcher{
		store: c.Store, disabler: c.Disabler, observer: c.Observer, now: c.Now, jitter: c.Jitter, incarnation: c.Incarnation,
		slots: newSlots(c.MaxInFlight), started: make(chan Leased, c.MaxInFlight), done: make(chan result, c.MaxInFlight),
		wake: loop.NewSignal(),
	}
	d.asked.Store(true)
	return d
}

// Loop records and leases, in turns.
func (d *Dispatcher) Loop() loop.Loop { return loop.Loop{Name: "dispatch", Step: d.Step, Wake: d.wake} }

// Wake makes the next turn look for what is due.
func (d *Dispatcher) Wake() {
	d.asked.Store(true)
	d.wake.Send()
}

// Started is the deliveries to attempt; each must end in Finish or Abandon. It never holds more than MaxInFlight.
func (d *Dispatcher) Started() <-chan Leased { return d.started }

// Forget gives a receiver another chance at once: its endpoint was changed, or somebody has resumed it.
func (d *Dispatcher) Forget(lane Lane) {
	d.slots.forget(lane)
	d.Wake()
}

// Circuits counts the receivers that are being spared, by state.
func (d *Dispatcher) Circuits() map[circuit.State]int { return d.slots.states(d.now()) }

// InFlight is how many deliveries are out.
func (d *Dispatcher) InFlight() int { return d.slots.out() }

// Reserve takes a slot for a delivery that is being scheduled in this process.
func (d *Dispatcher) Reserve(lane Lane, maxInFlight int) (lease string, ok bool) {
	return d.incarnation, !d.closing.Load() && d.slots.reserve(lane, maxInFlight)
}

// Take starts reserved deliveries once they are committed, or frees their slots when they were not.
func (d *Dispatcher) Take(deliveries []Leased, committed bool) {
	for _, l := range deliveries {
		if committed {
			d.started <- l
		} else {
			d.slots.free(l.Lane())
		}
	}
}

// Finish hands in what came of an attempt. It never blocks.
func (d *Dispatcher) Finish(l Leased, outcome delivery.Outcome) {
	d.done <- result{l, outcome}
	d.wake.Send()
}

// Abandon frees the slot of an attempt that was cut off by the end of the process. Its
// delivery stays leased: whoever takes it over knows that nobody knows how it ended.
func (d *Dispatcher) Abandon(l Leased) { d.slots.free(l.Lane()) }

// Step is one turn: in one transaction it writes what came of the attempts that ended, and leases what is
// due for the slots that this frees. When it fails the outcomes are kept and written by a
// later turn: what was sent is not sent again.
func (d *Dispatcher) Step(ctx context.Context) (time.Time, error) {
	for len(d.unsaved) < maxRecordedAtOnce && len(d.done) > 0 {
		r := <-d.done
		d.slots.learn(r, d.now())
		d.unsaved = append(d.unsaved, r)
	}
	asked := d.asked.Swap(false)
	lease := !d.closing.Load() && (asked || d.mayLease() || !d.nextDue.IsZero() && !d.nextDue.After(d.now()))
	if len(d.unsaved) == 0 && !lease {
		return d.nextDue, nil
	}
	var leased LeaseAnswer
	var ended map[delivery.Status]int
	err := d.store.InTx(ctx, func(ctx context.Context) (err error) {
		if ended, err = d.record(ctx); err != nil || !lease {
			return err
		}
		leased, err = d.lease(ctx)
		return err
	})
	if err != nil {
		d.slots.failLease()
		if asked {
			d.asked.Store(true)
		}
		return time.Time{}, fmt.Errorf("record %d attempts and lease: %w", len(d.unsaved), err)
	}
	d.end(ctx, ended)
	if lease {
		d.begin(leased)
	}
	if len(d.done) > 0 || len(leased.Leased) > 0 && d.slots.waiting(d.now()) {
		return d.now(), nil
	}
	return d.nextDue, nil
}

// mayLease reports whether the outcomes at hand make room for what waits.
func (d *Dispatcher) mayLease() bool { return d.slots.waiting(d.now()) || d.slots.frees(d.unsaved) }

// lease takes what is due, as far as there are slots. They are counted inside the transaction, so that a
// handover's reservation and this lease exclude each other.
func (d *Dispatcher) lease(ctx context.Context) (LeaseAnswer, error) {
	now := d.now()
	left, lanes, limits := d.slots.beginLease(d.unsaved, now)
	answer, err := d.store.LeaseDue(ctx, LeaseRequest{
		Lease: d.incarnation, Now: now, Limit: min(max(left, 0), maxLeasedAtOnce), InFlight: lanes, Limits: limits, After: d.after,
	})
	if err != nil {
		return LeaseAnswer{}, fmt.Errorf("lease: %w", err)
	}
	return answer, nil
}

// end forgets what was recorded.
func (d *Dispatcher) end(ctx context.Context, ended map[delivery.Status]int) {
	for status, n := range ended {
		d.observer.DeliveriesEnded(ctx, status, n)
	}
	for _, r := range d.unsaved {
		d.slots.free(r.leased.Lane())
	}
	d.unsaved = d.unsaved[:0]
}

// begin starts what was leased.
func (d *Dispatcher) begin(answer LeaseAnswer) {
	d.slots.endLease(answer)
	d.nextDue = answer.NextDue
	if probe := d.slots.probeDue(d.now()); !probe.IsZero() && (d.nextDue.IsZero() || probe.Before(d.nextDue)) {
		d.nextDue = probe
	}
	for _, l := range answer.Leased {
		d.after = l.Lane()
	}
	d.Take(answer.Leased, true)
}

// StopLeasing takes nothing new; what is out is still attempted and recorded.
func (d *Dispatcher) StopLeasing() { d.closing.Store(true) }

// Close gives back what was leased and not attempted; nothing is leased from then on. Outcomes are still recorded.
func (d *Dispatcher) Close(ctx context.Context) error {
	d.StopLeasing()
	var leased []Leased
	for len(d.started) > 0 {
		leased = append(leased, <-d.started)
	}
	if len(leased) == 0 {
		return nil
	}
	if err := d.store.GiveBack(ctx, d.incarnation, leased); err != nil {
		d.Take(leased, true) // for another call of Close
		return fmt.Errorf("give %d leases back: %w", len(leased), err)
	}
	d.Take(leased, false)
	return nil
}
