package eventlog

import (
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
)

func TestPausesDoubleUpToTheLongest(t *testing.T) {
	log := New(nil, slog.New(slog.DiscardHandler), time.Now)
	s, err := log.Subscriber("g", Options{})
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t.Context(), s, "t1")
	r.current = &delivery{rows: []row{{position: 1}}}
	for i, want := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		if got := r.failed(errNacked); got != want*time.Millisecond {
			t.Errorf("failure %d asks for %v, want a pause of %d ms", i+1, got, want)
		}
	}
	r.current = &delivery{rows: []row{{position: 2}, {position: 3}}, failed: errNacked, failedAt: 2}
	if got := r.failed(errNacked); got != firstPause || r.failedAt != 2 {
		t.Errorf("the first failure of another message asks for %v at %d, want %v", got, r.failedAt, firstPause)
	}
}

func TestAnotherProcessesTurnIsRespectedWhileItGetsOn(t *testing.T) {
	s := &Subscriber{log: &Log{db: &postgres.DB{}}, options: Options{Recheck: time.Hour}}
	r := newReader(t.Context(), s, "t1")
	for _, c := range []struct {
		holder  string
		from    int64
		waiting bool
		want    bool
	}{{"", 0, true, false}, {"other", 1, false, false}, {"other", 1, true, true}, {"other", 2, true, true}} {
		if got := r.othersTurn(c.holder, c.from, c.waiting); got != c.want {
			t.Errorf("%+v gave %t", c, got)
		}
	}
	r.options.Recheck = 0 // the time in which it got on with nothing has passed
	if r.othersTurn("other", 2, true) {
		t.Error("the turn of a process that is gone is respected for ever")
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

// TestWhatIsNotAskedForIsRefused would catch a watermill-sql that runs queries of its own.
func TestWhatIsNotAskedForIsRefused(t *testing.T) {
	s := &session{}
	if _, err := s.QueryContext(t.Context(), "SELECT 1"); !errors.Is(err, errUnexpected) {
		t.Errorf("a foreign query gave %v", err)
	}
	if _, err := s.ExecContext(t.Context(), "DELETE"); !errors.Is(err, errUnexpected) {
		t.Errorf("a foreign statement gave %v", err)
	}
}
