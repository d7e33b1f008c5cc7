// Package loops repeats the application's steps: one goroutine for each, woken by its signal
// or by the time that the step asked for.
package loops

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
)

// Pauses after errors in a row: the first, doubled up to the last. All processes that met the same trouble pause at the same time, so
// everything may stand still for as long as the last one after the trouble is over.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = time.Second
)

const longestSleep = 30 * time.Second

// Failed counts the steps of a loop that failed; it is told of none when the loop begins.
type Failed func(ctx context.Context, loop string, steps int)

// Run repeats the loops until ctx ends, and returns when each has finished its step. A step that is then under way may go on until steps
// ends. now is the wall clock, by which steps give their times; failed may be nil.
func Run(ctx, steps context.Context, log *slog.Logger, failed Failed, now func() time.Time, loops ...loop.Loop) {
	if failed == nil {
		failed = func(context.Context, string, int) {}
	}
	var running sync.WaitGroup
	for _, l := range loops {
		failed(ctx, l.Name, 0)
		running.Go(func() {
			repeat(ctx, steps, log.With("loop", l.Name), func() { failed(ctx, l.Name, 1) }, l, now)
		})
	}
	running.Wait()
}

// repeat needs the wall clock besides timers: it may be set, and they do not follow it.
func repeat(ctx, steps context.Context, log *slog.Logger, failed func(), l loop.Loop, wall func() time.Time) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause, failures := firstPause, 0
	var due sleep
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.Wake:
		case <-timer.C:
			if left := due.left(wall()); left > 0 {
				timer.Reset(min(left, longestSleep))
				continue
			}
		}
		began := reading{wall().Round(0), time.Now()}
		next, err := l.Step(steps)
		switch {
		case err != nil:
			failed()
			if failures++; loop.Told(failures) {
				log.ErrorContext(ctx, "the step failed and is tried again", "error", err, "failures", failures, "pause", pause)
			}
			if !Wait(ctx, pause) {
				return
			}
			pause = min(2*pause, lastPause)
			due = sleep{}
			timer.Reset(0)
		case next.IsZero():
			pause, failures = firstPause, 0
			timer.Stop()
		default:
			ended := reading{wall().Round(0), time.Now()}
			pause, failures, due = firstPause, 0, sleepUntil(next, began, ended)
			timer.Reset(min(due.left(ended.wall), longestSleep))
		}
	}
}

// sleep ends by whichever clock gets there first. When the wall clock is set forward, what is due by it runs at once (a long sleep is slept
// in parts, to notice); when it is set back, heartbeats do not stop until it has caught up.
type sleep struct {
	due    time.Time // by the wall clock
	latest time.Time // by the monotonic clock, which nobody sets
}

// reading is both clocks at one moment.
type reading struct{ wall, monotonic time.Time }

// sleepUntil has the clocks from before the step and after it. The wall clock may be set in between, and nobody knows whether the step read it
// before that or after: the earlier of the two is at worst too early, while the other could be as late as the clock was set.
func sleepUntil(next time.Time, began, ended reading) sleep {
	due, latest := next.Round(0), began.latest(next)
	if by := ended.latest(next); by.Before(latest) {
		latest = by
	}
	return sleep{due, latest}
}

func (r reading) latest(next time.Time) time.Time { return r.monotonic.Add(next.Round(0).Sub(r.wall)) }

func (s sleep) left(wall time.Time) time.Duration {
	return max(0, min(s.due.Sub(wall.Round(0)), time.Until(s.latest)))
}

// Wait is false when ctx ends first.
func Wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
