package demo

import (
	"context"
	"errors"
	"testing"
)

// The demo ends the last service that it has, also when the one that is to follow a killed one does not start.
func TestAServiceThatDoesNotStartLeavesTheOneBefore(t *testing.T) {
	before := &service{}
	s := &stage{dir: t.TempDir(), service: before, collector: &collector{}}
	interrupted, interrupt := context.WithCancel(t.Context())
	interrupt()
	if err := s.startService(interrupted); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if s.service != before {
		t.Errorf("there is %v to be ended", s.service)
	}
}

func TestAnInterruptedDemoFoundNothingWrong(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	if err := blame(ctx); err != errWrong {
		t.Errorf("before: %v", err)
	}
	interrupt()
	if err := blame(ctx); err != errInterrupted {
		t.Errorf("it says %v", err)
	}
}
