// Package loop gives every loop of the application one form: a step that is called again.
//
// In production a goroutine repeats the step, woken by a signal; a simulation calls the
// steps of several processes in an order that a seed decides.
package loop

import (
	"context"
	"time"
)

// Step does a bounded piece of work and says when it wants to be called next: a time, at
// once for a time that has passed, or only when woken for the zero time. After an error
// the caller waits a little and calls again.
type Step func(ctx context.Context) (next time.Time, err error)

// Of failures in a row the first few are told, then one in toldOnce.
const (
	toldFirst = 8
	toldOnce  = 60
)

// Told reports whether the failure that is the given one in a row, from 1, is to be logged: trouble that lasts must not flood the log.
func Told(failures int) bool { return failures <= toldFirst || failures%toldOnce == 0 }

// Loop is a step with its name and the signal that wakes it.
type Loop struct {
	Name string
	Step Step
	Wake <-chan struct{}
}

// Signal wakes a loop. Signals that come before the loop looks are one.
type Signal chan struct{}

// NewSignal makes a signal that nobody has sent yet.
func NewSignal() Signal { return make(Signal, 1) }

// Send wakes the loop; it never blocks.
func (s Signal) Send() {
	select {
	case s <- struct{}{}:
	default:
	}
}
