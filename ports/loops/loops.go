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

// Pauses after errors in a row: the first, doubled up to the last.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 5 * time.Second
)

const longestSleep = 30 * time.Second

// Run repeats the loops until ctx ends, and returns when each has finished its step. A
// step that is under way is not cancelled.
func Run(ctx context.Context, log *slog.Logger, loops ...loop.Loop) {
	var running sync.WaitGroup
	for _, l := range loops {
		running.Go(func() { repeat(ctx, log.With("loop", l.Name), l) })
	}
	running.Wait()
}

func repeat(ctx context.Context, log *slog.Logger, l loop.Loop) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	pause := firstPause
	var due time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.Wake:
		case <-timer.C:
			// Timers do not follow a clock that is set, so a long sleep is slept in parts.
			if left := due.Round(0).Sub(time.Now().Round(0)); left > 0 {
				timer.Reset(min(left, longestSleep))
				continue
			}
		}
		next, err := l.Step(context.WithoutCancel(ctx))
		switch {
		case err != nil:
			log.ErrorContext(ctx, "the step failed and is tried again", "error", err, "pause", pause)
			if !wait(ctx, pause) {
				return
			}
			pause = min(2*pause, lastPause)
			due = time.Time{}
			timer.Reset(0)
		case next.IsZero():
			pause = firstPause
			timer.Stop()
		default:
			pause, due = firstPause, next
			timer.Reset(min(max(0, time.Until(next)), longestSleep))
		}
	}
}

func wait(ctx context.Context, pause time.Duration) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
