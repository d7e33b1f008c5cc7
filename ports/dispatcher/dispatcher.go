// Package dispatcher attempts what the application has leased, many at once.
package dispatcher

import (
	"context"
	"fmt"
	"sync"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Run attempts leased deliveries until ctx ends; then it gives back what it has not begun
// and waits for the attempts that are out. Those end early when attempts does. The
// dispatcher's slots bound how many there are.
func Run(ctx, attempts context.Context, d *dispatch.Dispatcher, a *dispatch.Attempter) error {
	var out sync.WaitGroup
	defer out.Wait()
	for {
		select {
		case <-ctx.Done():
			return d.Close(context.WithoutCancel(ctx))
		case l := <-d.Started():
			out.Go(func() { attempt(attempts, d, a, l) })
		}
	}
}

func attempt(ctx context.Context, d *dispatch.Dispatcher, a *dispatch.Attempter, l dispatch.Leased) {
	outcome := attemptSafely(ctx, a, l)
	if ctx.Err() != nil && !outcome.Succeeded() {
		d.Abandon(l)
		return
	}
	d.Finish(l, outcome)
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
