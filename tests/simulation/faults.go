package simulation

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/problem"
)

// fault is a kind of trouble.
type fault int

const (
	callFails   fault = iota // a call of the store fails
	callIsSlow               // the time leaps in a call
	killed                   // the process dies before a call
	commitFails              // nothing of the transaction is kept, and the caller knows
	commitLost               // it is kept, and the caller does not learn of it for a while
	killedAfter              // it is kept, and the process dies before it knows
	signalLost               // nobody is woken by a commit
	paused                   // the process stands still, past its leases or not
	clockJumps               // the process's clock is set
	stopped                  // the process is stopped in good order and started again
	outage                   // no call of anybody succeeds for a while
	collides                 // the transaction is undone at a call or at its end, and run again: it collided with another
	faultKinds
)

var faultNames = [faultKinds]string{"call_fails", "call_is_slow", "killed", "commit_fails", "commit_lost", "killed_after_commit",
	"signal_lost", "paused", "clock_jumps", "stopped", "outage", "collides"}

func (f fault) String() string { return faultNames[f] }

// rate is how often the kind happens, of 10,000 occasions: calls, commits, signals, or looks of the world's
// own activity, which come each half second.
func (f fault) rate() int {
	return [faultKinds]int{callFails: 15, callIsSlow: 10, killed: 8, commitFails: 60, commitLost: 60, killedAfter: 40, signalLost: 2500,
		paused: 250, clockJumps: 250, stopped: 200, outage: 120, collides: 100}[f]
}

// What a caller sees.
var (
	errCall     = fmt.Errorf("simulated: %w", problem.New(problem.Unavailable, "the database did not answer"))
	errCommit   = errors.New("simulated: the commit failed")
	errUnknown  = fmt.Errorf("simulated: %w", problem.New(problem.Unavailable, "the answer to a commit was lost"))
	errKilled   = errors.New("simulated: the process is gone")
	errCollided = errors.New("simulated: the transaction collided with another")
)

// faults decides what goes wrong, and remembers what did.
type faults struct {
	world     *world
	happened  []happening
	outageEnd time.Time
}

// happening is a fault with the time in which what it disturbed may come out in an unusual way.
type happening struct {
	kind    fault
	process *process // nil for all
	at      time.Time
	until   time.Time // later than at for what lasts
}

// strikes decides whether the kind happens now, and remembers it. The draw is made in any case.
func (f *faults) strikes(kind fault, p *process) bool {
	w := f.world
	drawn := w.trouble.IntN(10_000) < w.rates[kind]
	if !drawn || w.quiet || w.Faults >= 0 && w.counts.Faults >= w.Faults {
		return false
	}
	f.note(kind, p)
	return true
}

func (f *faults) note(kind fault, p *process) {
	w := f.world
	w.counts.Faults++
	f.happened = append(f.happened, happening{kind, p, w.now, w.now})
	name := "everybody"
	if p != nil {
		name = p.name
	}
	w.trace.line("fault %d: %s, %s", w.counts.Faults, kind, name)
}

// lasts notes for how long what happened last goes on, and says until when that is.
func (f *faults) lasts(from, to time.Duration) (until time.Time) {
	until = f.world.now.Add(f.span(from, to))
	f.happened[len(f.happened)-1].until = until
	return until
}

// between reports whether something happened to the process in the time. A clock that was set disturbs all
// the others as well, from then on until all are right again: by one clock the others' hearts seem to stand still.
func (f *faults) between(p *process, from, to time.Time) bool {
	return f.disturbedBy(p, from, to, func(fault) bool { return true })
}

func (f *faults) disturbedBy(p *process, from, to time.Time, counts func(fault) bool) bool {
	for _, h := range f.happened {
		switch {
		case h.kind == signalLost || !counts(h.kind):
		case h.kind == clockJumps:
			over := f.world.quiet && from.After(f.world.calm.Add(dispatch.HeartbeatTimeout))
			if !to.Before(h.at) && !over {
				return true
			}
		case (h.process == p || h.process == nil) && !h.until.Before(from) && !h.at.After(to):
			return true
		}
	}
	return false
}

// since reports whether anything happened to anybody since the time.
func (f *faults) since(from time.Time) bool {
	return slices.ContainsFunc(f.happened, func(h happening) bool { return h.kind != signalLost && !h.until.Before(from) })
}

// call is what becomes of a call of the store before it is made. One that is slow in a transaction holds up
// everybody, since there is one writer.
func (f *faults) call(p *process, joined bool) error {
	w := f.world
	if w.now.Before(f.outageEnd) && !w.quiet {
		w.now = w.now.Add(time.Duration(w.trouble.IntN(20)) * time.Millisecond)
		return errCall
	}
	if joined && f.strikes(callIsSlow, nil) {
		w.now = f.lasts(50*time.Millisecond, 9*time.Second)
	}
	if !joined && f.strikes(callIsSlow, p) {
		w.current.sleep(f.lasts(50*time.Millisecond, 20*time.Second), nil)
		if p.dead {
			return errKilled
		}
	}
	if f.strikes(killed, p) {
		p.die()
		return errKilled
	}
	if f.strikes(callFails, p) {
		return errCall
	}
	if joined && f.strikes(collides, p) {
		return errCollided
	}
	return nil
}

// fate is what becomes of a commit; noFault for nothing unusual.
func (f *faults) fate(p *process) fault {
	for _, kind := range []fault{commitFails, commitLost, killedAfter, collides} {
		if f.strikes(kind, p) {
			return kind
		}
	}
	return faultKinds
}

func (f *faults) span(from, to time.Duration) time.Duration {
	return from + time.Duration(f.world.trouble.Int64N(int64(to-from)))
}

// disturb is the world's own activity: what no call brings about.
func (f *faults) disturb(a *activity) {
	w := f.world
	for !w.quiet {
		a.sleep(w.now.Add(f.span(time.Millisecond, time.Second)), nil)
		p := w.processes[w.trouble.IntN(len(w.processes))]
		if p.dead || w.quiet {
			continue
		}
		if f.strikes(paused, p) {
			p.pausedUntil = f.lasts(100*time.Millisecond, 25*time.Second)
		}
		if f.strikes(clockJumps, p) {
			p.offset = f.span(-w.furthest, w.furthest)
		}
		if f.strikes(stopped, p) {
			p.shutDown()
		}
		if f.strikes(outage, nil) {
			f.outageEnd = f.lasts(100*time.Millisecond, 15*time.Second)
		}
	}
}

// endTrouble lets nothing fail from now on: who stands goes on, who is gone comes back, clocks are right.
func (w *world) endTrouble() {
	w.quiet, w.calm = true, w.now
	w.trace.line("the faults stop")
	for _, p := range w.processes {
		p.pausedUntil, p.offset = time.Time{}, 0
	}
	if w.audits {
		w.busy++
	}
	if w.bounds.Open > 0 {
		w.busy++
		w.begin(nil, "knocker", w.knock)
	}
}
