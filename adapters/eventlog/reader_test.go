package eventlog

import (
	"context"
	"log/slog"
	"testing"
	"time"
)

// nowhere is a database that is not asked for anything.
type nowhere struct{ Database }

func (nowhere) Source(GroupTopic, Options) Source { return nil }

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	s, err := New(nowhere{}, Options{}, slog.New(slog.DiscardHandler), time.Now).Subscriber("g")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(s.(*Subscriber), "t1")
	r.at = 1
	for i, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		if got := r.failed(context.Background(), errNacked); got != want*time.Millisecond {
			t.Errorf("failure %d asks for %v, want a pause of %d ms", i+1, got, want)
		}
	}
	r.at = 2
	if got := r.failed(context.Background(), errNacked); got != firstPause {
		t.Errorf("the first failure of another message asks for %v, want %v", got, firstPause)
	}
}

func TestSubscriberRefusesBadOptions(t *testing.T) {
	for name, options := range map[string]Options{
		"negative batch":   {Batch: -1},
		"big batch":        {Batch: 1001},
		"negative bytes":   {Bytes: -1},
		"negative recheck": {Recheck: -1},
		"negative pause":   {MaxPause: -1},
		"negative ack":     {AckDeadline: -1},
	} {
		if _, err := New(nowhere{}, options, slog.New(slog.DiscardHandler), time.Now).Subscriber("g"); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if _, err := New(nowhere{}, Options{}, slog.New(slog.DiscardHandler), time.Now).Subscriber(""); err == nil {
		t.Error("a group without a name was accepted")
	}
}
