package eventlog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/application/fanout"
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

// asked is a source that notes what it is asked for, and heeds its context.
type asked struct {
	Source
	look Look
}

func (a *asked) Read(_ context.Context, look Look) (Found, error) {
	a.look = look
	return Found{}, nil
}

func (a *asked) Begin(ctx context.Context, _, _ int64) (Tx, error) { return done{}, ctx.Err() }

// done is a transaction that can be kept.
type done struct{ Tx }

func (done) Commit() error   { return nil }
func (done) Rollback() error { return nil }

func readerOf(t *testing.T, source Source) *Reader {
	t.Helper()
	s, err := New(nowhere{}, Options{Batch: 10}, slog.New(slog.DiscardHandler), time.Now).Subscriber("g")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(s.(*Subscriber), "t1")
	r.source = source
	return r
}

// What fails comes alone, and what cannot be read is handed over as it is stored after as many tries as an event has.
func TestWhatFailsComesAloneAndThenAsItIsStored(t *testing.T) {
	a := &asked{}
	r := readerOf(t, a)
	r.at = 1
	for failures := range fanout.Refusals + 2 {
		if _, err := r.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		if alone, stored := a.look.Limit == 1, a.look.AsStored; alone != (failures > 0) || stored != (failures >= fanout.Refusals) {
			t.Errorf("after %d failures it asks for %+v", failures, a.look)
		}
		r.failed(t.Context(), errNacked)
	}
}

// Everybody waits for a record that cannot be read. Of many in a row few are waited for, until a newer version may have come.
func TestOfManyRecordsThatCannotBeReadFewAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		r := readerOf(t, a)
		// refusals is how often the next record is refused before it is handed over.
		refusals := func(why error) (n int) {
			r.at++
			for ; ; n++ {
				if _, err := r.Next(t.Context()); err != nil {
					t.Fatal(err)
				}
				if a.look.AsStored {
					break
				}
				r.failed(t.Context(), why)
			}
			if err := r.Keep(t.Context(), &Batch{reader: r, records: []Record{{Position: r.at}}}); err != nil {
				t.Fatal(err)
			}
			return n
		}
		for i, want := range []int{6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 0, 0} {
			if got := refusals(fmt.Errorf("read: %w", compact.ErrUnreadable)); got != want {
				t.Errorf("record %d is refused %d times, want %d", i, got, want)
			}
		}
		if a.look.Limit != 10 {
			t.Errorf("they come %d at a time", a.look.Limit)
		}
		<-time.After(10 * time.Minute)
		for range 20 {
			if got := refusals(errNacked); got != 6 {
				t.Errorf("later one is refused %d times", got)
			}
		}
	})
}

// Whoever stands by cannot read what another process can; it is as patient as that once it has the turn.
func TestWhatAnotherProcessReadsIsNotWaitedForInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		r := readerOf(t, a)
		for r.at = 1; r.at < 100; r.at++ {
			r.failed(t.Context(), compact.ErrUnreadable)
		}
		if _, err := r.Next(t.Context()); err != nil || a.look.AsStored {
			t.Errorf("it asks for %+v, %v", a.look, err)
		}
	})
}

// A batch fails with the first record of it that cannot be read. Whatever comes before that is then handed over alone, and was not waited for.
func TestWhatComesBeforeARecordThatCannotBeReadIsNotWaitedForInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asked{}
		r := readerOf(t, a)
		for from := range int64(100) {
			r.at = from
			r.failed(t.Context(), compact.ErrUnreadable)
			if err := r.Keep(t.Context(), &Batch{reader: r, from: from, records: []Record{{Position: from + 1}}}); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.Next(t.Context()); err != nil || a.look.AsStored {
			t.Errorf("it asks for %+v, %v", a.look, err)
		}
	})
}

// What was acknowledged before a close would come again.
func TestWhatWasAcknowledgedIsKeptWhateverEnds(t *testing.T) {
	r := readerOf(t, &asked{})
	ctx, end := context.WithCancel(t.Context())
	end()
	if err := r.Keep(ctx, &Batch{reader: r, records: []Record{{Position: 7}}}); err != nil {
		t.Error(err)
	}
}

// The router may be busy for long; a handler has its time from when it gets the message.
func TestAHandlersTimeBeginsWithItsMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := readerOf(t, &asked{})
		delivered := make(chan error)
		go func() {
			delivered <- r.Deliver(t.Context(), &Batch{reader: r, records: []Record{{Position: 7, Metadata: []byte("{}")}}})
		}()
		<-time.After(r.options.AckDeadline + time.Second)
		msg := <-r.out
		<-time.After(r.options.AckDeadline - time.Second)
		msg.Ack()
		if err := <-delivered; err != nil {
			t.Error(err)
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
