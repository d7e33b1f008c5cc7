package eventlog

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
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

// A database that is away for an hour fails a step each second.
func TestOfManyFailuresFewAreLogged(t *testing.T) {
	var written bytes.Buffer
	s, err := New(nowhere{}, Options{}, slog.New(slog.NewTextHandler(&written, nil)), time.Now).Subscriber("g")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(s.(*Subscriber), "t1")
	logged := func(failures int) int {
		written.Reset()
		for range failures {
			r.failed(t.Context(), errNacked)
		}
		return strings.Count(written.String(), "\n")
	}
	if first, later := logged(10), logged(3590); first != 8 || later != 60 {
		t.Errorf("%d of the first 10 are logged and %d of the next 3,590, want 8 and 60", first, later)
	}
	if r.at = 2; logged(1) != 1 {
		t.Error("the first failure of another message is not logged")
	}
}

// Of several processes one works for a group. The others ask the database now and then, and not all the time.
func TestWhoDoesNotWorkForTheGroupLooksSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := New(nowhere{}, Options{Recheck: time.Minute}, slog.New(slog.DiscardHandler), time.Now).Subscriber("g")
		if err != nil {
			t.Fatal(err)
		}
		r := newReader(s.(*Subscriber), "t1")
		for name, settle := range map[string]func(){
			"superseded": func() { r.Settle(t.Context(), false, ErrSuperseded) },
			"standing by": func() {
				r.standby = true
				r.Settle(t.Context(), true, nil)
			},
		} {
			began := time.Now()
			if settle(); time.Since(began) != time.Minute {
				t.Errorf("%s, it looks again after %s", name, time.Since(began))
			}
		}
	})
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
