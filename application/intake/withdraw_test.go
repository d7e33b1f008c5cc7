package intake_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
)

var errGone = errors.New("the client went away")

// TestACallerWhoseContextEndsIsNotKept: it was told to try again, and without IDs nobody knows its events again.
func TestACallerWhoseContextEndsIsNotKept(t *testing.T) {
	within(t, func(w *world) {
		ctx, cancel := context.WithCancelCause(w.Context())
		got := w.submit(ctx, sample("acme", "", "a"))
		cancel(errGone)
		if a := <-got; !errors.Is(a.err, errGone) {
			t.Errorf("got %+v", a)
		}
		if next := w.step(); !next.IsZero() || w.store.transactions != 0 {
			t.Errorf("next %s after %d transactions", next, w.store.transactions)
		}
		if got := w.one(sample("acme", "", "a")); got.err != nil || len(w.store.events) != 1 {
			t.Errorf("sent again: %+v, and there are %d events", got, len(w.store.events))
		}
	})
}

// While SQLite's writer is waited for, a caller can still give up; whoever waits beside it is accepted.
func TestWhoGivesUpBeforeATransactionBeginsIsNotInIt(t *testing.T) {
	within(t, func(w *world) {
		for others := range 2 {
			ctx, cancel := context.WithCancelCause(w.Context())
			givesUp, waits := w.submit(ctx, sample("acme", "", "a")), []<-chan answer(nil)
			for range others {
				waits = append(waits, w.submit(w.Context(), sample("acme", "", "b")))
			}
			w.store.begins = func() { cancel(errGone); synctest.Wait() }
			w.step()
			if a := <-givesUp; !errors.Is(a.err, errGone) {
				t.Errorf("beside %d others: %+v", others, a)
			}
			for _, got := range waits {
				if a := <-got; a.err != nil {
					t.Error(a.err)
				}
			}
			if len(w.store.events) != others || w.seen.accepted[event.VisitReportApproved] != others {
				t.Errorf("beside %d others: %d events, and told of %v", others, len(w.store.events), w.seen.accepted)
			}
		}
	})
}

func TestATransactionThatDoesNotBeginAnswersWhoStillWaits(t *testing.T) {
	within(t, func(w *world) {
		ctx, cancel := context.WithCancelCause(w.Context())
		givesUp, waits := w.submit(ctx, sample("acme", "", "a")), w.submit(w.Context(), sample("acme", "", "b"))
		w.store.failBegin = problem.New(problem.Unavailable, "away")
		w.store.begins = func() { cancel(errGone); synctest.Wait() }
		w.step()
		if a, b := <-givesUp, <-waits; !errors.Is(a.err, errGone) || !problem.Is(b.err, problem.Unavailable) || w.Ready() == nil {
			t.Errorf("got %v and %v", a.err, b.err)
		}
		ctx, cancel = context.WithCancelCause(w.Context())
		givesUp = w.submit(ctx, sample("acme", "", "a"))
		w.store.failBegin = nil
		w.store.begins = func() { cancel(errGone); synctest.Wait() }
		w.step()
		if a := <-givesUp; !errors.Is(a.err, errGone) || w.Ready() == nil {
			t.Errorf("got %v, and a transaction without events passes for one that showed that the trouble is over", a.err)
		}
	})
}

// Its events are accepted, or not, and it is told which.
func TestWhoGivesUpInATransactionGetsItsAnswer(t *testing.T) {
	within(t, func(w *world) {
		for _, fails := range []error{nil, errors.New("disk is full")} {
			ctx, cancel := context.WithCancelCause(w.Context())
			w.keep = func(context.Context, []intake.Result) error { cancel(errGone); synctest.Wait(); return nil }
			got := w.submit(ctx, sample("acme", "", "a"))
			w.store.failCommit = fails
			w.step()
			if a := <-got; !errors.Is(a.err, fails) || len(w.store.events) != 1 {
				t.Errorf("got %+v with %d events", a, len(w.store.events))
			}
		}
	})
}

// What was withdrawn takes no room, and gives back no more than it took: whether it was in the queue or about to be in a transaction.
func TestWhoGivesUpLeavesRoom(t *testing.T) {
	const most = 10
	within(t, func(w *world) {
		w.open(intake.Limits{TenantOpen: most})
		w.looks()
		ctx, cancel := context.WithCancelCause(w.Context())
		givesUp := w.submit(ctx, many("acme", "a", most)...)
		cancel(errGone)
		if a := <-givesUp; !errors.Is(a.err, errGone) || w.Waiting() != 0 {
			t.Fatalf("%d events wait after %v", w.Waiting(), a.err)
		}
		for _, away := range []error{nil, problem.New(problem.Unavailable, "away")} {
			ctx, cancel := context.WithCancelCause(w.Context())
			givesUp := w.submit(ctx, many("acme", "b", most)...)
			w.store.failBegin, w.store.begins = away, func() { cancel(errGone); synctest.Wait() }
			w.step()
			if a := <-givesUp; !errors.Is(a.err, errGone) || w.Waiting() != 0 {
				t.Errorf("%d events wait after %v", w.Waiting(), a.err)
			}
		}
		w.store.failBegin = nil
		w.accepts("acme", most)
		if a := <-w.submit(w.Context(), sample("acme", "", "a")); !problem.Is(a.err, problem.RateLimited) {
			t.Errorf("more are open than may be: %v", a.err)
		}
	})
}

// Where there is always something that waits, room that is not given back would be gone for good.
func TestWhoGivesUpBesideOthersLeavesRoom(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{TenantOpen: 10})
		w.looks()
		waits := w.submit(w.Context(), many("acme", "a", 1)...)
		for range 5 {
			ctx, cancel := context.WithCancelCause(w.Context())
			givesUp := w.submit(ctx, many("acme", "b", 5)...)
			cancel(errGone)
			if a := <-givesUp; !errors.Is(a.err, errGone) {
				w.Fatalf("got %v", a.err)
			}
		}
		w.step()
		if a := <-waits; a.err != nil {
			w.Error(a.err)
		}
	})
}

// TestWhoIsToldAnErrorHasNothingAccepted has callers give up at all times, beside the commits.
func TestWhoIsToldAnErrorHasNothingAccepted(t *testing.T) {
	within(t, func(w *world) {
		w.keep = func(context.Context, []intake.Result) error { <-time.After(time.Millisecond); return nil }
		told := make([]error, 500)
		var callers sync.WaitGroup
		for i := range told {
			callers.Go(func() {
				<-time.After(rand.N(50 * time.Millisecond))
				ctx, cancel := context.WithTimeout(w.Context(), rand.N(100*time.Millisecond))
				defer cancel()
				_, told[i] = w.Accept(ctx, []event.Event{sample("acme", fmt.Sprint("evt_", i), "a")}, "", w.keep)
			})
		}
		ended := make(chan struct{})
		go func() { callers.Wait(); close(ended) }()
		for {
			w.step()
			select {
			case <-ended:
			case <-time.After(time.Millisecond):
				continue
			}
			break
		}
		for i, err := range told {
			if _, stored := w.store.events[intake.EventKey{Tenant: "acme", ID: fmt.Sprint("evt_", i)}]; stored != (err == nil) {
				t.Errorf("the caller of evt_%d was told %v, and it is stored: %t", i, err, stored)
			}
		}
		if n := len(w.store.events); n == 0 || n == len(told) || w.Waiting() != 0 {
			t.Errorf("%d of %d events were accepted, and %d wait", n, len(told), w.Waiting())
		}
	})
}
