package cli

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/ports/cli/config"
)

// counting is a store of counts with an empty log; it fails the first so many times that a generation is begun.
type counting struct {
	metrics.Store
	failures int
	fail     error
	begun    func()
}

func (c *counting) BeginGeneration(context.Context) (metrics.Generation, error) {
	c.begun()
	if c.failures--; c.failures >= 0 {
		return 0, c.fail
	}
	return 2, nil
}

func (c *counting) MetricsOffset(_ context.Context, of metrics.Generation) (metrics.Generation, int64, error) {
	return of, 0, nil
}

func (c *counting) NextAttempts(context.Context, int64, int) (attempts []metrics.Attempt, last int64, read int, err error) {
	return nil, 0, 0, nil
}

func (c *counting) GoLive(context.Context, metrics.Generation) (bool, error) { return true, nil }

func (c *counting) DeliveryHead(context.Context) (int64, error) { return 0, nil }

// rebuildIn runs the command, in fake time.
func rebuildIn(t *testing.T, c *counting, name string) (out string, err error) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		if c.begun == nil {
			c.begun = stop
		}
		known := map[string]Rebuilder{"metrics": func(_ context.Context, _ config.Config, run func(context.Context, *metrics.Rebuild) error) error {
			return run(ctx, metrics.NewRebuild(c, time.Now, time.Hour))
		}}
		var stdout, stderr bytes.Buffer
		err = rebuild(ctx, config.Config{}, name, Streams{Out: &stdout, Err: &stderr}, known)
		if out = stdout.String(); stderr.Len() > 0 {
			t.Errorf("without a terminal it shows %q", stderr.String())
		}
	})
	return out, err
}

func TestARebuildWaitsForTheDatabase(t *testing.T) {
	away := problem.New(problem.Unavailable, "The database is away.")
	out, err := rebuildIn(t, &counting{failures: 5, fail: away, begun: func() {}}, "metrics")
	if err != nil || out != "metrics: 0 attempts in 0 records, rebuilt in 3.1s\n" {
		t.Errorf("printed %q, %v", out, err)
	}
	if _, err := rebuildIn(t, &counting{failures: 1000, fail: away, begun: func() {}}, "metrics"); !errors.Is(err, away) {
		t.Errorf("for one that stays away: %v", err)
	}
	odd := errors.New("that cannot be read")
	if _, err := rebuildIn(t, &counting{failures: 1, fail: odd, begun: func() {}}, "metrics"); !errors.Is(err, odd) {
		t.Errorf("for what waiting does not mend: %v", err)
	}
}

func TestARebuildCanBeBrokenOff(t *testing.T) {
	away := problem.New(problem.Unavailable, "The database is away.")
	for name, c := range map[string]*counting{"between steps": {}, "while it waits": {failures: 1, fail: away}} {
		if out, err := rebuildIn(t, c, "metrics"); !errors.Is(err, errBrokenOff) || out != "" {
			t.Errorf("%s: printed %q, %v", name, out, err)
		}
	}
}

func TestUnknownProjectionsAreTold(t *testing.T) {
	_, err := rebuildIn(t, &counting{}, "deliveries")
	if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "there is metrics") {
		t.Errorf("got %v", err)
	}
}
