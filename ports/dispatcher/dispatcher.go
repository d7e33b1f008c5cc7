// Package dispatcher attempts what the application has leased, many at once.
package dispatcher

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// apart is what lies between the beginnings of two attempts at receivers that do not answer, on one processor; on more it is less. Such an
// attempt is a handshake and whatever its receiver does then, 1 to 2 ms of a processor: a hundred of them at once hold up all else.
const apart = 8 * time.Millisecond

// Run attempts leased deliveries until ctx ends; then it gives back what it has not begun
// and waits for the attempts that are out. Those end early when attempts does. The
// dispatcher's slots bound how many there are.
func Run(ctx, attempts context.Context, d *dispatch.Dispatcher, a *dispatch.Attempter) error {
	var out, pacing sync.WaitGroup
	defer out.Wait()
	begin := func(l dispatch.Leased) { out.Go(func() { attempt(attempts, d, a, l) }) }
	unanswered := make(chan dispatch.Leased, cap(d.Started())) // never full, since each has a slot
	pacing.Go(func() { pace(ctx, d, unanswered, begin) })
	for {
		select {
		case <-ctx.Done():
			pacing.Wait()
			for len(unanswered) > 0 {
				d.PutBack(<-unanswered)
			}
			return d.Close(context.WithoutCancel(ctx))
		case l := <-d.Started():
			if l.Unanswered {
				unanswered <- l
			} else {
				begin(l)
			}
		}
	}
}

// pace begins one after the other until ctx ends, and puts back what has waited for too long.
func pace(ctx context.Context, d *dispatch.Dispatcher, waiting <-chan dispatch.Leased, begin func(dispatch.Leased)) {
	pause := apart / time.Duration(runtime.GOMAXPROCS(0))
	for {
		select {
		case <-ctx.Done():
			return
		case l := <-waiting:
			if d.Outdated(l) {
				d.PutBack(l)
				continue
			}
			begin(l)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func attempt(ctx context.Context, d *dispatch.Dispatcher, a *dispatch.Attempter, l dispatch.Leased) {
	outcome := attemptSafely(ctx, a, l)
	if ctx.Err() != nil && !outcome.Succeeded() {
		d.Abandon(l)
		return
	}
	if !outcome.Succeeded() {
		awaitOthers(ctx)
	}
	d.Finish(l, outcome)
}

// together is how far apart the moments are at which failed attempts are handed in, all of them that ended meanwhile at once. Nobody waits
// for one to be recorded; it would be a transaction of its own, and others that were accepted or have arrived wait for that.
const together = 50 * time.Millisecond

// awaitOthers returns at the next such moment, or when ctx ends.
func awaitOthers(ctx context.Context) {
	now := time.Now()
	select {
	case <-time.After(now.Truncate(together).Add(together).Sub(now)):
	case <-ctx.Done():
	}
}

// attemptSafely makes a failure of an attempt that panics, so that one delivery cannot take the process down with it.
func attemptSafely(ctx context.Context, a *dispatch.Attempter, l dispatch.Leased) (outcome delivery.Outcome) {
	began := a.Now()
	defer func() {
		if r := recover(); r != nil {
			outcome = delivery.Outcome{Kind: delivery.KindConnectionLost, StartedAt: began, Error: fmt.Sprintf("the attempt panicked: %v", r)}
		}
	}()
	return a.Attempt(ctx, l)
}
