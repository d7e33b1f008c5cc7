package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/ports/cli/config"
)

// Rebuilder opens the database in which a projection is rebuilt, and passes the steps to run.
type Rebuilder func(ctx context.Context, c config.Config, run func(context.Context, *metrics.Rebuild) error) error

// How often a step is tried when the database cannot write or read for now, and the pauses between.
const (
	rebuildTries      = 10
	firstRebuildPause = 100 * time.Millisecond
	lastRebuildPause  = 5 * time.Second
)

var errBrokenOff = errors.New("broken off: everything is as it was; run it again to begin anew")

func rebuild(ctx context.Context, c config.Config, name string, s Streams, known map[string]Rebuilder) error {
	rebuilder, ok := known[name]
	if !ok {
		names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
		if name == "" {
			return fmt.Errorf("%w: rebuild takes the name of a projection; there is %s", errUsage, names)
		}
		return fmt.Errorf("%w: there is no projection %q to rebuild; there is %s", errUsage, name, names)
	}
	return rebuilder(ctx, c, func(ctx context.Context, r *metrics.Rebuild) error {
		shown, began := newProgress(s.Err), time.Now()
		defer shown.end()
		for !r.Progress().Done {
			if err := stepOn(ctx, r); err != nil {
				return fmt.Errorf("rebuild %s: %w", name, err)
			}
			p := r.Progress()
			shown.show(fmt.Sprintf("%.0f %%, %d records", 100*p.Share, p.Records), p.Records)
		}
		shown.end()
		p := r.Progress()
		fmt.Fprintf(s.Out, "%s: %d attempts in %d records, rebuilt in %s\n", name, p.Attempts, p.Records, time.Since(began).Round(time.Millisecond))
		return nil
	})
}

// stepOn makes one step, which is not cut off in the middle.
func stepOn(ctx context.Context, r *metrics.Rebuild) error {
	pause := firstRebuildPause
	for try := 1; ; try++ {
		if ctx.Err() != nil {
			return errBrokenOff
		}
		err := r.Step(context.WithoutCancel(ctx))
		if err == nil || !problem.Is(err, problem.Unavailable) || try == rebuildTries {
			return err
		}
		if wait(ctx, pause) != nil {
			return errBrokenOff
		}
		pause = min(2*pause, lastRebuildPause)
	}
}
