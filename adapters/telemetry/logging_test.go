package telemetry

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestWarnerIsRateLimited(t *testing.T) {
	var w warner
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, step := range []struct {
		after   time.Duration
		due     bool
		leftOut int
	}{{0, true, 0}, {time.Second, false, 0}, {WarnEvery - 1, false, 0}, {WarnEvery, true, 2}, {WarnEvery + 1, false, 0}, {3 * WarnEvery, true, 1}} {
		if leftOut, due := w.due(start.Add(step.after)); due != step.due || leftOut != step.leftOut {
			t.Errorf("step %d: %v, %d left out", i, due, leftOut)
		}
	}
}

func TestWarnerWarns(t *testing.T) {
	var written bytes.Buffer
	w := &warner{log: slog.New(slog.NewTextHandler(&written, nil))}
	for range 100 {
		w.Handle(errors.New("connection refused"))
	}
	if text := written.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "level=WARN") || !strings.Contains(text, "connection refused") {
		t.Errorf("got %s", text)
	}
}

// A pause of 400000000 is none that an operator understands.
func TestDurationsHaveAUnit(t *testing.T) {
	var log bytes.Buffer
	NewLogger(&log, slog.LevelInfo).With("since", time.Minute).Info("again", "pause", 400*time.Millisecond, "failures", 3)
	if text := log.String(); !strings.Contains(text, `"since":"1m0s"`) || !strings.Contains(text, `"pause":"400ms","failures":3`) {
		t.Errorf("logged %s", text)
	}
}
