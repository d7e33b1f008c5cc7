// Package dispatcher attempts what the application has leased, many at once.
package dispatcher

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// apart is the time between the starts of two attempts at receivers that do not answer, on one processor; it is divided by their number.
// Such an attempt, a handshake and whatever its receiver does next, takes 1 to 2 ms of a processor: a hundred at once would hold up
// everything else.
const apart = 8 * time.Millisecond

// Run attempts leased deliveries until ctx ends; then it gives back what it has not begun and waits for the attempts under way, which end
// early when the context attempts does. The dispatcher's slots bound their number.
func Run(ctx, attempts context.Context, d *dispatch.Dispatcher, a *dispatch.Attempter) error {
	var out, pacing, gathering sync.WaitGroup
	failed := make(chan dispatch.Result, cap(d.Started()))
	gathering.Go(func() { gather(attempts, d, failed) })
	defer func() {
		out.Wait()
		close(failed)
		gathering.Wait()
	}()
	begin := func(l dispatch.Leased) { out.Go(func() { attempt(attempts, d, a, l, failed) }) }
	unanswered := make(chan dispatch.Leased, cap(d.Started())) // never full, since each has a slot
	pacing.Go(func() { pace(ctx, d, unanswered, begin) })
	for {
		select {
		case <-ctx.Done():
			pacing.Wait()
			for len(unanswered) > 0 {
				d.PutBack(<-unanswered)
			}
			return d.Close(attempts) // who closes it again has what is left then
		case l := <-d.Started():
			if l.Unanswered {
				unanswered <- l
			} else {
				begin(l)
			}
		}
	}
}

// pace begins one attempt after the other until ctx ends, and puts back those that have waited too long.
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

// unsignedPause is how long what could not be signed keeps its slot, so that leasing it and giving it back is not all that is done.
const unsignedPause = time.Second

// attempt goes on with what begins in an attempt's place: its stack has grown by then, and need not grow again.
func attempt(ctx context.Context, d *dispatch.Dispatcher, a *dispatch.Attempter, l dispatch.Leased, failed chan<- dispatch.Result) {
	for more := true; more; {
		outcome, err := attemptSafely(ctx, a, l)
		switch {
		case err != nil:
			select {
			case <-time.After(unsignedPause):
			case <-ctx.Done():
			}
			d.PutBack(l)
			return
		case outcome.Succeeded():
			l, more = d.Finish(l, outcome)
		case ctx.Err() != nil:
			d.Abandon(l)
			return
		default:
			failed <- dispatch.Result{Leased: l, Outcome: outcome}
			return
		}
	}
}

// together is the interval at which failed attempts are handed in, all that ended meanwhile at once. Nobody waits for a failure to be
// recorded, and handed in alone it would take a transaction of its own, which accepted events and successful deliveries would wait for.
const together = 50 * time.Millisecond

// gather hands in failures at the next such moment, or at once when ctx has ended, until failed is closed.
func gather(ctx context.Context, d *dispatch.Dispatcher, failed <-chan dispatch.Result) {
	for first := range failed {
		results := []dispatch.Result{first}
		now := time.Now()
		moment := time.After(now.Truncate(together).Add(together).Sub(now))
		for waiting := true; waiting; {
			select {
			case r, open := <-failed:
				if waiting = open; open {
					results = append(results, r)
				}
			case <-moment:
				waiting = false
			case <-ctx.Done():
				waiting = false
			}
		}
		d.FinishTogether(results)
	}
}

// attemptSafely turns a panic before or after the sending into a failed attempt, too, so that one delivery cannot take the process down
// with it.
func attemptSafely(ctx context.Context, a *dispatch.Attempter, l dispatch.Leased) (outcome delivery.Outcome, err error) {
	began := a.Now()
	defer func() {
		if value := recover(); value != nil {
			outcome = a.Panicked(ctx, l, began, value)
		}
	}()
	return a.Attempt(ctx, l)
}
