package eventlog

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

// TestIdleStepTakesNoWriter would stand still if a step with nothing to read wanted the writer.
func TestIdleStepTakesNoWriter(t *testing.T) {
	db := filled(t, 10)
	log := New(db, slog.New(slog.DiscardHandler), time.Now)
	s, err := log.Subscriber("g", Options{})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	want := next{pause: time.Second, wakeable: true}
	if got := newReader(s, "empty").step(ctx); got != want {
		t.Errorf("an idle step asks for %+v, want %+v", got, want)
	}
}

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	db := filled(t, 10)
	log := New(db, slog.New(slog.DiscardHandler), time.Now)
	s, err := log.Subscriber("g", Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(s, "t1")
	for i, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		if got := r.failed(t.Context(), 1, errNacked); got.pause != want*time.Millisecond || got.wakeable {
			t.Errorf("failure %d asks for %+v, want a pause of %d ms", i+1, got, want)
		}
	}
	if got := r.failed(t.Context(), 2, errNacked); got.pause != firstPause {
		t.Errorf("the first failure of another message asks for %v, want %v", got.pause, firstPause)
	}
}

func TestSubscriberRefusesBadOptions(t *testing.T) {
	log := New(nil, slog.New(slog.DiscardHandler), time.Now)
	for name, options := range map[string]Options{
		"negative batch":   {Batch: -1},
		"big batch":        {Batch: 1001},
		"negative recheck": {Recheck: -1},
		"negative pause":   {MaxPause: -1},
		"negative ack":     {AckDeadline: -1},
	} {
		if _, err := log.Subscriber("g", options); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := log.Subscriber("", Options{}); err == nil {
		t.Error("a group without a name was accepted")
	}
}
