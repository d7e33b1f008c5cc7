package intake_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// CountDay is intake.QuotaStore.
func (m *memory) CountDay(_ context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	if m.counts++; m.counts == m.failDayAt && m.failDay != nil {
		return nil, m.failDay
	}
	if m.days == nil || day.After(m.day) {
		m.day, m.days = day, map[tenant.ID]int{}
	}
	counted := map[tenant.ID]int{}
	for owner, n := range sent {
		m.days[owner] += n
		counted[owner] = m.days[owner]
	}
	return counted, nil
}

// wantRefused wants a refusal that says when to come back.
func (w *world) wantRefused(got answer, code problem.Code, after time.Duration, why intake.Reason, words string) {
	w.Helper()
	refused, ok := got.err.(*problem.Error)
	if !ok || refused.Code != code || refused.RetryAfter != after || !strings.Contains(refused.Detail, words) {
		w.Errorf("got %+v, want %s after %s with %q", got.err, code, after, words)
	}
	if w.seen.refused[why] == 0 {
		w.Errorf("observed %v, and not %s", w.seen.refused, why)
	}
}

func many(owner tenant.ID, name string, n int) (events []event.Event) {
	for i := range n {
		events = append(events, sample(owner, fmt.Sprintf("evt_%s_%d", name, i), "a"))
	}
	return events
}

func TestTheQuotaOfADay(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{EventsPerDay: 5})
		if got := w.one(many("acme", "a", 3)...); got.err != nil {
			t.Fatal(got.err)
		}
		untilMidnight := w.store.now().Truncate(24 * time.Hour).Add(24 * time.Hour).Sub(w.store.now())
		w.wantRefused(w.one(many("acme", "b", 3)...), problem.RateLimited, untilMidnight, intake.ReasonEventsPerDay, "acme may send 5 events a day (UTC), and has sent 3")
		if got := w.one(append(many("acme", "a", 3), many("acme", "b", 2)...)...); got.err != nil { // duplicates do not count
			t.Error(got.err)
		}
		if got := w.one(many("acme", "a", 3)...); got.err != nil {
			t.Errorf("duplicates, with nothing left: %v", got.err)
		}
		w.wantRefused(w.one(many("acme", "c", 1)...), problem.RateLimited, untilMidnight, intake.ReasonEventsPerDay, "has sent 5")
		w.wantRefused(w.one(append(many("other", "a", 1), many("acme", "c", 1)...)...), problem.RateLimited, untilMidnight, intake.ReasonEventsPerDay, "acme")
		if got := w.one(many("other", "a", 5)...); got.err != nil {
			t.Errorf("another tenant: %v", got.err)
		}
		w.store.later += 24 * time.Hour
		if got := w.one(many("acme", "c", 5)...); got.err != nil {
			t.Errorf("the next day: %v", got.err)
		}
	})
}

// Requests that are committed together share the day as if one came after the other.
func TestTheQuotaInsideACommit(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{EventsPerDay: 5})
		first, second, third := w.submit(w.Context(), many("acme", "a", 3)...), w.submit(w.Context(), many("acme", "b", 3)...), w.submit(w.Context(), many("acme", "c", 2)...)
		w.step()
		if a, b, c := <-first, <-second, <-third; a.err != nil || !problem.Is(b.err, problem.RateLimited) || c.err != nil {
			t.Errorf("got %v, %v, %v", a.err, b.err, c.err)
		}
		if w.store.days["acme"] != 5 || len(w.store.events) != 5 {
			t.Errorf("%d counted, %d stored", w.store.days["acme"], len(w.store.events))
		}
	})
}

// However large the requests are: what waits in memory is bounded.
func TestWaitingEventsAreBounded(t *testing.T) {
	within(t, func(w *world) {
		var waiting []<-chan answer
		for i := range 50 {
			waiting = append(waiting, w.submit(w.Context(), many([]tenant.ID{"acme", "other"}[i%2], fmt.Sprint(i), 1000)...))
		}
		w.wantRefused(<-w.submit(w.Context(), many("acme", "more", 1)...), problem.Unavailable, time.Second, intake.ReasonWaiting, "wait to be accepted")
		w.step()
		again := w.submit(w.Context(), many("acme", "more", 1)...)
		waiting = append(waiting, again)
		for len(again) == 0 {
			w.step()
			synctest.Wait()
		}
		for _, got := range waiting {
			if a := <-got; a.err != nil {
				t.Fatal(a.err)
			}
		}
	})
}

func TestWhatWasGivenUpUsesNoQuota(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{EventsPerDay: 3})
		w.keep = func(context.Context, []intake.Result) error { return problem.New(problem.Conflict, "given up") }
		givenUp := w.submit(w.Context(), many("acme", "a", 2)...)
		w.keep = nil
		again, more := w.submit(w.Context(), many("acme", "a", 2)...), w.submit(w.Context(), many("acme", "b", 2)...)
		w.step()
		if a := <-givenUp; !problem.Is(a.err, problem.Conflict) {
			t.Errorf("given up: %+v", a)
		}
		if a := <-again; a.err != nil {
			t.Errorf("again: %+v", a)
		}
		if a := <-more; !problem.Is(a.err, problem.RateLimited) {
			t.Errorf("more than what is left: %+v", a)
		}
	})
}
