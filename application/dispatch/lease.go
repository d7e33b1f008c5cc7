package dispatch

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
)

// maxLeasedAtOnce bounds one lease; the rest follows at once.
const maxLeasedAtOnce = 256

// Dispatcher keeps the slots of this process filled with what is due.
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
	unsaved []result    // taken from done by a record step that has not succeeded yet
	behind  Lane        // the lane that the last lease ended with

	backlog    atomic.Bool
	leaseWake  loop.Signal
	recordWake loop.Signal
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

// New makes a dispatcher.
func New(c Config) *Dispatcher {
	return &Dispatcher{
		store: c.Store, disabler: c.Disabler, observer: c.Observer, now: c.Now, jitter: c.Jitter, incarnation: c.Incarnation,
		slots: newSlots(c.MaxInFlight), started: make(chan Leased, c.MaxInFlight), done: make(chan result, c.MaxInFlight),
		leaseWake: loop.NewSignal(), recordWake: loop.NewSignal(),
	}
}

// Started is the deliveries to attempt; each must end in Finish. It never holds more than MaxInFlight.
func (d *Dispatcher) Started() <-chan Leased { return d.started }

// InFlight is how many deliveries are out.
func (d *Dispatcher) InFlight() int { return d.slots.out() }

// WakeLease makes the lease step look for what is due.
func (d *Dispatcher) WakeLease() { d.leaseWake.Send() }

// LeaseLoop fills the slots.
func (d *Dispatcher) LeaseLoop() loop.Loop {
	return loop.Loop{Name: "lease", Step: d.LeaseStep, Wake: d.leaseWake}
}

// RecordLoop writes what came of the attempts. It must outlive the last of them.
func (d *Dispatcher) RecordLoop() loop.Loop {
	return loop.Loop{Name: "record", Step: d.RecordStep, Wake: d.recordWake}
}

// LeaseStep leases what is due, as far as there are slots.
func (d *Dispatcher) LeaseStep(ctx context.Context) (time.Time, error) {
	var answer LeaseAnswer
	full := false
	err := d.store.InTx(ctx, func(ctx context.Context) error {
		// Counted inside the transaction, so that a handover's reservation and this lease exclude each other.
		left, lanes := d.slots.beginLease()
		if full = left <= 0; full {
			return nil
		}
		var err error
		answer, err = d.store.LeaseDue(ctx, LeaseRequest{
			Lease: d.incarnation, Now: d.now(), Limit: min(left, maxLeasedAtOnce), InFlight: lanes, After: d.behind,
		})
		return err
	})
	if err != nil {
		d.slots.endLease(nil)
		return time.Time{}, fmt.Errorf("lease: %w", err)
	}
	d.slots.endLease(answer.Leased)
	d.backlog.Store(full || answer.Backlog)
	for _, l := range answer.Leased {
		d.started <- l
		d.behind = l.Lane()
	}
	return answer.NextDue, nil
}

// Reserve takes a slot for a delivery that is being scheduled in this process.
func (d *Dispatcher) Reserve(lane Lane, maxInFlight int) (lease string, ok bool) {
	return d.incarnation, d.slots.reserve(lane, maxInFlight)
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

// GiveBack ends the leases of what was not attempted, for the end of a process.
func (d *Dispatcher) GiveBack(ctx context.Context) error {
	var leased []Leased
	for len(d.started) > 0 {
		leased = append(leased, <-d.started)
	}
	if len(leased) == 0 {
		return nil
	}
	if err := d.store.GiveBack(ctx, d.incarnation, leased); err != nil {
		return fmt.Errorf("give %d leases back: %w", len(leased), err)
	}
	for _, l := range leased {
		d.slots.free(l.Lane())
	}
	return nil
}
