package simulation

import (
	"iter"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// activity is something that goes on: a loop of a process, an attempt, a user. It is a coroutine: it works
// until it sleeps, and nothing else works meanwhile.
type activity struct {
	name    string
	process *process // nil for what no process does
	due     time.Time
	wake    <-chan struct{} // cuts a sleep short; nil when nothing does
	resume  func() (struct{}, bool)
	stop    func()
	yield   func(struct{}) bool
	over    bool
	woken   bool             // the last sleep was cut short
	leased  *dispatch.Leased // of an attempt
	cutOff  bool             // an attempt that has to end
	span    string           // the trace ID of an attempt
}

// cut is what unwinds an activity that is ended from outside.
type cut struct{}

// never is when something is due that must be woken.
var never = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

// begin adds an activity that is due now.
func (w *world) begin(p *process, name string, body func(a *activity)) *activity {
	a := &activity{name: name, process: p, due: w.now}
	a.resume, a.stop = iter.Pull(func(yield func(struct{}) bool) {
		defer func() {
			if r := recover(); r != nil && r != any(cut{}) {
				panic(r)
			}
		}()
		a.yield = yield
		body(a)
	})
	w.activities = append(w.activities, a)
	return a
}

// sleep lets others work until the time, or until wake is sent.
func (a *activity) sleep(until time.Time, wake <-chan struct{}) {
	a.due, a.wake = until, wake
	if !a.yield(struct{}{}) {
		panic(cut{})
	}
	a.woken = false
	select {
	case <-wake:
		a.woken = true
	default:
	}
}

func (a *activity) work() {
	if _, more := a.resume(); !more {
		a.over = true
	}
}

// cut ends the activity wherever it is.
func (a *activity) cut() {
	if !a.over {
		a.over = true
		a.stop()
	}
}

// dueAt is when the activity can work: a process that is paused does nothing.
func (a *activity) dueAt(now time.Time) time.Time {
	due := a.due
	if len(a.wake) > 0 {
		due = now
	}
	if a.process != nil && a.process.pausedUntil.After(due) {
		due = a.process.pausedUntil
	}
	return due
}

// pick chooses among what can work now, and lets time pass when there is nothing.
func (w *world) pick() *activity {
	w.now = w.now.Add(time.Duration(w.order.IntN(400)) * time.Microsecond)
	w.ready = w.ready[:0]
	earliest := never
	for _, a := range w.activities {
		due := a.dueAt(w.now)
		if !due.After(w.now) {
			w.ready = append(w.ready, a)
		} else if due.Before(earliest) {
			earliest = due
		}
	}
	if len(w.ready) == 0 {
		if !w.attemptLeft() {
			w.now = earliest
		}
		return w.pick()
	}
	return w.ready[w.order.IntN(len(w.ready))]
}

// attemptLeft begins all that tidy has left, and reports whether there was any: no time passes while a process has something to begin.
func (w *world) attemptLeft() (left bool) {
	for _, p := range w.processes {
		for !p.dead && !p.stopping && !p.pausedUntil.After(w.now) && len(p.dispatcher.Started()) > 0 {
			left = true
			p.attemptNext()
		}
	}
	return left
}

// tidy begins the attempts of some of what was leased, and forgets what is over.
func (w *world) tidy() {
	for _, p := range w.processes {
		if !p.dead && !p.pausedUntil.After(w.now) {
			p.attemptStarted()
		}
	}
	kept := w.activities[:0]
	for _, a := range w.activities {
		if a.process != nil && a.process.dead {
			a.cut()
		}
		if !a.over {
			kept = append(kept, a)
		}
	}
	clear(w.activities[len(kept):])
	w.activities = kept
}
