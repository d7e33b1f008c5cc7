package loops

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
)

// TestAClockThatIsSetForwardAndBackStopsNoLoop has a clock set forward during a step, which reads it afterwards, and back before the next.
func TestAClockThatIsSetForwardAndBackStopsNoLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var offset atomic.Int64
		wall := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
		began, steps := time.Now(), []time.Duration{}
		step := func(context.Context) (time.Time, error) {
			steps = append(steps, time.Since(began)/time.Second)
			<-time.After(20 * time.Second)
			return wall().Add(time.Minute), nil
		}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			repeat(ctx, context.WithoutCancel(ctx), slog.New(slog.DiscardHandler), func() {}, loop.Loop{Step: step}, wall)
		}()
		<-time.After(10 * time.Second)
		offset.Store(int64(time.Hour))
		<-time.After(20 * time.Second)
		offset.Store(0)
		<-time.After(140 * time.Second)
		stop()
		<-done
		if want := []time.Duration{0, 80, 160}; !slices.Equal(steps, want) {
			t.Errorf("steps after %v seconds, want %v", steps, want)
		}
	})
}

// TestAClockThatIsSetStopsNoLoop has a step that wants to come each minute by a clock that somebody sets.
func TestAClockThatIsSetStopsNoLoop(t *testing.T) {
	for name, c := range map[string]struct {
		set  time.Duration // after 90 seconds
		by   time.Duration // how long a step takes, the second of which is under way then
		want []time.Duration
	}{
		"left alone":                        {0, 0, []time.Duration{0, 60, 120, 180}},
		"an hour back":                      {-time.Hour, 0, []time.Duration{0, 60, 120, 180}},
		"forward over what was due":         {time.Hour, 0, []time.Duration{0, 60, 90, 150}},
		"an hour back during a step":        {-time.Hour, 40 * time.Second, []time.Duration{0, 60, 120, 180}},
		"an hour forward during a step":     {time.Hour, 40 * time.Second, []time.Duration{0, 60, 100, 160}},
		"left alone by steps that are long": {0, 40 * time.Second, []time.Duration{0, 60, 120, 180}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var offset atomic.Int64
				wall := func() time.Time { return time.Now().Add(time.Duration(offset.Load())) }
				began, steps := time.Now(), []time.Duration{}
				step := func(context.Context) (time.Time, error) {
					steps = append(steps, time.Since(began)/time.Second)
					next := wall().Add(time.Minute)
					<-time.After(c.by)
					return next, nil
				}
				ctx, stop := context.WithCancel(t.Context())
				done := make(chan struct{})
				go func() {
					defer close(done)
					repeat(ctx, context.WithoutCancel(ctx), slog.New(slog.DiscardHandler), func() {}, loop.Loop{Step: step}, wall)
				}()
				<-time.After(89 * time.Second)
				offset.Store(int64(c.set))
				<-time.After(100 * time.Second)
				stop()
				<-done
				if !slices.Equal(steps, c.want) {
					t.Errorf("steps after %v seconds, want %v", steps, c.want)
				}
			})
		})
	}
}
