package loops_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/ports/loops"
)

// script is a loop whose steps answer in turn; after the last it waits to be woken.
type script struct {
	wake    loop.Signal
	answers []func() (time.Time, error)
	began   time.Time
	mu      sync.Mutex
	at      []time.Duration // of the steps, since the beginning
}

// steps is when the steps were, since the beginning.
func (s *script) steps() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.at)
}

func (s *script) step(context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = append(s.at, time.Since(s.began))
	if len(s.answers) == 0 {
		return time.Time{}, nil
	}
	answer := s.answers[0]
	s.answers = s.answers[1:]
	return answer()
}

func (s *script) wants(t *testing.T, at ...time.Duration) {
	t.Helper()
	synctest.Wait()
	if got := s.steps(); !slices.Equal(got, at) {
		t.Errorf("steps at %v, want %v", got, at)
	}
}

func in(d time.Duration) func() (time.Time, error) {
	return func() (time.Time, error) { return time.Now().Add(d), nil }
}

func fails() (time.Time, error) { return time.Time{}, errors.New("the database is away") }

// running starts the loop in a bubble of fake time, and ends it after the test.
func running(t *testing.T, s *script, test func(t *testing.T, logged *bytes.Buffer)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var logged bytes.Buffer
		ctx, stop := context.WithCancel(t.Context())
		s.wake, s.began = loop.NewSignal(), time.Now()
		done := make(chan struct{})
		go func() {
			loops.Run(ctx, context.WithoutCancel(ctx), slog.New(slog.NewTextHandler(&logged, nil)), nil, time.Now, loop.Loop{Name: "scripted", Step: s.step, Wake: s.wake})
			close(done)
		}()
		test(t, &logged)
		stop()
		<-done
	})
}

// after lets the time pass, and everybody come to rest.
func after(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestAStepComesAgainWhenItWants(t *testing.T) {
	past := func() (time.Time, error) { return time.Now().Add(-time.Hour), nil }
	s := &script{answers: []func() (time.Time, error){in(0), past, in(time.Minute), in(time.Hour)}}
	running(t, s, func(t *testing.T, _ *bytes.Buffer) {
		s.wants(t, 0, 0, 0)
		after(time.Minute)
		s.wants(t, 0, 0, 0, time.Minute)
		after(time.Hour)
		s.wants(t, 0, 0, 0, time.Minute, time.Minute+time.Hour)
		after(1000 * time.Hour) // it only wants to be woken now
		s.wants(t, 0, 0, 0, time.Minute, time.Minute+time.Hour)
	})
}

func TestAStepIsWoken(t *testing.T) {
	s := &script{answers: []func() (time.Time, error){in(time.Hour)}}
	running(t, s, func(t *testing.T, _ *bytes.Buffer) {
		s.wants(t, 0)
		after(time.Minute)
		s.wake.Send()
		s.wants(t, 0, time.Minute)
		after(10 * time.Hour) // the hour that it waited for is forgotten
		s.wants(t, 0, time.Minute)
		s.wake.Send()
		s.wants(t, 0, time.Minute, 10*time.Hour+time.Minute)
	})
}

func TestErrorsAreFollowedByLongerPauses(t *testing.T) {
	s := &script{answers: []func() (time.Time, error){fails, fails, fails, in(time.Hour), fails, fails}}
	running(t, s, func(t *testing.T, logged *bytes.Buffer) {
		after(50 * time.Millisecond)
		s.wants(t, 0, 50*time.Millisecond)
		after(100 * time.Millisecond)
		s.wants(t, 0, 50*time.Millisecond, 150*time.Millisecond)
		after(200 * time.Millisecond)
		recovered := 350 * time.Millisecond
		s.wants(t, 0, 50*time.Millisecond, 150*time.Millisecond, recovered)
		after(time.Hour + 50*time.Millisecond) // the pauses begin anew
		s.wants(t, 0, 50*time.Millisecond, 150*time.Millisecond, recovered, recovered+time.Hour, recovered+time.Hour+50*time.Millisecond)
		if got := strings.Count(logged.String(), "level=ERROR"); got != 5 || !strings.Contains(logged.String(), "loop=scripted") {
			t.Errorf("logged %d errors:\n%s", got, logged)
		}
	})
}

func TestThePauseIsBounded(t *testing.T) {
	s := &script{}
	idle := func() (time.Time, error) { s.wake.Send(); return time.Time{}, nil }
	for _, recovered := range []func() (time.Time, error){in(0), idle} {
		for range 130 {
			s.answers = append(s.answers, fails)
		}
		s.answers = append(s.answers, recovered)
	}
	s.answers = append(s.answers, fails)
	running(t, s, func(t *testing.T, logged *bytes.Buffer) {
		after(time.Hour)
		steps := s.steps()
		for i, at := range steps[1:] {
			if pause := at - steps[i]; pause > time.Second {
				t.Errorf("a pause of %s", pause)
			}
		}
		if len(steps) != 264 {
			t.Errorf("%d steps", len(steps))
		}
		if got := strings.Count(logged.String(), "level=ERROR"); got != 2*(8+2)+1 { // the 60th and the 120th, and then the first anew
			t.Errorf("logged %d errors", got)
		}
	})
}

func TestFailedStepsAreCountedFromZeroOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		s := &script{answers: []func() (time.Time, error){fails, in(0), fails}, began: time.Now()}
		var mu sync.Mutex
		var counted []string
		failed := func(_ context.Context, loop string, steps int) {
			mu.Lock()
			defer mu.Unlock()
			counted = append(counted, fmt.Sprint(loop, " ", steps))
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			loops.Run(ctx, context.WithoutCancel(ctx), slog.New(slog.DiscardHandler), failed, time.Now, loop.Loop{Name: "scripted", Step: s.step})
		}()
		after(time.Minute)
		stop()
		<-done
		if want := []string{"scripted 0", "scripted 1", "scripted 1"}; !slices.Equal(counted, want) {
			t.Errorf("counted %q, want %q", counted, want)
		}
	})
}

// A step that was woken and fails is tried again at once, and not when the last one that went well wanted to come again.
func TestAStepThatFailsDoesNotWaitForWhatWasDue(t *testing.T) {
	s := &script{answers: []func() (time.Time, error){in(time.Hour), fails, in(time.Hour)}}
	running(t, s, func(t *testing.T, _ *bytes.Buffer) {
		s.wants(t, 0)
		s.wake.Send()
		s.wants(t, 0, 0)
		after(50 * time.Millisecond)
		s.wants(t, 0, 0, 50*time.Millisecond)
	})
}

// A wake-up during the pause after an error must not make the loop spin.
func TestAPauseIsNotCutShort(t *testing.T) {
	s := &script{answers: []func() (time.Time, error){fails}}
	running(t, s, func(t *testing.T, _ *bytes.Buffer) {
		s.wants(t, 0)
		s.wake.Send()
		s.wants(t, 0)
		after(49 * time.Millisecond)
		s.wants(t, 0)
		after(time.Millisecond)
		if steps := s.steps(); len(steps) < 2 || steps[1] != 50*time.Millisecond {
			t.Errorf("steps at %v", steps)
		}
	})
}

func TestRunEndsWhenEachStepHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		release := make(chan struct{})
		var cancelled error
		slow := loop.Loop{Name: "slow", Step: func(ctx context.Context) (time.Time, error) {
			<-release
			cancelled = ctx.Err()
			return time.Now(), nil
		}}
		idle := loop.Loop{Name: "idle", Step: func(context.Context) (time.Time, error) { return time.Time{}, nil }}
		failing := loop.Loop{Name: "failing", Step: func(context.Context) (time.Time, error) { return fails() }}
		ended := false
		go func() {
			loops.Run(ctx, context.WithoutCancel(ctx), slog.New(slog.DiscardHandler), nil, time.Now, slow, idle, failing)
			ended = true
		}()
		synctest.Wait()
		stop()
		synctest.Wait()
		if ended {
			t.Error("ended in the middle of a step")
		}
		close(release)
		synctest.Wait()
		if !ended || cancelled != nil {
			t.Errorf("ended: %t; the step under way was cancelled: %v", ended, cancelled)
		}
	})
}
