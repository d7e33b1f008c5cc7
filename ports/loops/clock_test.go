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

// clocked is a loop by a clock that somebody sets.
type clocked struct {
	began  time.Time
	offset atomic.Int64
	steps  []time.Duration // the seconds after which each began
}

// byAClock repeats the step while the clock is set, and checks when the steps began.
func byAClock(t *testing.T, step func(*clocked) time.Time, set func(*clocked), want ...time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		c := &clocked{began: time.Now()}
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			repeat(ctx, context.WithoutCancel(ctx), slog.New(slog.DiscardHandler), func() {}, loop.Loop{Step: func(context.Context) (time.Time, error) {
				c.steps = append(c.steps, time.Since(c.began)/time.Second)
				return step(c), nil
			}}, c.wall)
		}()
		set(c)
		stop()
		<-done
		if !slices.Equal(c.steps, want) {
			t.Errorf("steps after %v seconds, want %v", c.steps, want)
		}
	})
}

func (c *clocked) wall() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

// setAfter sets the clock by so much, once that time has gone by.
func (c *clocked) setAfter(wait, by time.Duration) {
	<-time.After(wait)
	c.offset.Store(int64(by))
}

// TestAClockThatIsSetForwardAndBackStopsNoLoop has a clock set forward during a step, which reads it afterwards, and back before the next.
func TestAClockThatIsSetForwardAndBackStopsNoLoop(t *testing.T) {
	byAClock(t, func(c *clocked) time.Time {
		<-time.After(20 * time.Second)
		return c.wall().Add(time.Minute)
	}, func(c *clocked) {
		c.setAfter(10*time.Second, time.Hour)
		c.setAfter(20*time.Second, 0)
		<-time.After(140 * time.Second)
	}, 0, 80, 160)
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
			byAClock(t, func(clock *clocked) time.Time {
				next := clock.wall().Add(time.Minute)
				<-time.After(c.by)
				return next
			}, func(clock *clocked) {
				clock.setAfter(89*time.Second, c.set)
				<-time.After(100 * time.Second)
			}, c.want...)
		})
	}
}
