// Package dispatcher attempts what the application has leased, many at once.
package dispatcher

import (
	"context"
	"sync"

	"github.com/ordinavo/webhooks/application/dispatch"
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
	outcome := a.Attempt(ctx, l)
	if ctx.Err() != nil && !outcome.Succeeded() {
		d.Abandon(l)
		return
	}
	d.Finish(l, outcome)
}
