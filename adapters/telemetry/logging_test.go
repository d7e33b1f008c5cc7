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
