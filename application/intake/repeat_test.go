package intake_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// repeating is a store whose transactions are undone once and repeated, as when they conflict with another.
type repeating struct {
	*memory
	undone func() // between the two
}

func (r repeating) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	return r.memory.InTx(ctx, func(ctx context.Context) error {
		if err := fn(ctx); err != nil {
			return err
		}
		r.staged, r.days = nil, r.undo
		r.undone()
		return fn(ctx)
	})
}

// A transaction that is repeated accepts each event once, and forgets what it had refused.
func TestATransactionThatIsRepeatedDecidesAnew(t *testing.T) {
	within(t, func(w *world) {
		w.store.tenants["late"] = false
		store := repeating{w.store, func() { w.store.tenants["late"] = true }}
		in := intake.New(intake.Config{Store: store, Observer: w.seen, Now: w.store.now, NewID: func(prefix string) string { return prefix + "1" }})
		w.Intake = in
		first, late := w.submit(w.Context(), sample("acme", "evt_1", "a")), w.submit(w.Context(), sample("late", "evt_2", "a"))
		w.step()
		for name, got := range map[string]answer{"accepted twice": <-first, "refused at first": <-late} {
			if got.err != nil || !slices.Equal(duplicates(got.results), []bool{false}) {
				w.Errorf("%s: %+v", name, got)
			}
		}
		if len(w.store.commits) != 1 || len(w.store.commits[0]) != 2 {
			w.Errorf("stored %+v", w.store.commits)
		}
	})
}

// What found no place in the queue takes no room, or in the end there would be none.
func TestWhatIsTurnedAwayTakesNoRoom(t *testing.T) {
	within(t, func(w *world) {
		const queued = 4096
		w.open(intake.Limits{Open: 50_000})
		var waits []*intake.Submission
		for i := range queued {
			s, err := w.Submit(w.Context(), many([]tenant.ID{"acme", "other"}[i%2], "a", 1), "", nil)
			if err != nil {
				w.Fatal(err)
			}
			waits = append(waits, s)
		}
		for range 30 {
			if _, err := w.Submit(w.Context(), many("acme", "b", 2000), "", nil); !problem.Is(err, problem.Unavailable) {
				w.Fatalf("got %v", err)
			}
		}
		for range 3 {
			w.step()
		}
		for _, s := range waits {
			<-s.Done()
		}
		w.accepts("acme", 10_000)
		w.accepts("acme", 10_000)
	})
}

// A tenant whose first events wait for their commit is not forgotten meanwhile.
func TestALookForgetsNobodyWhoseEventsWait(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{TenantOpen: 10})
		got := w.submit(w.Context(), many("acme", "a", 1)...)
		w.looks()
		w.step()
		if a := <-got; a.err != nil {
			w.Error(a.err)
		}
	})
}

// A process that does not see itself among those that live has no more than the room that there is.
func TestWithoutAProcessTheBoundHolds(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{Open: 10})
		w.store.others = -1
		w.accepts("acme", 1)
		w.unroutedFromNow()
		w.looks()
		w.accepts("acme", 9)
		w.refuses("acme", problem.Unavailable, time.Second, intake.ReasonOpen, "Too many deliveries")
	})
}

// What waits for its commit takes of its tenant's room, too.
func TestWhatWaitsTakesItsTenantsRoom(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{TenantOpen: 10})
		got := w.submit(w.Context(), many("acme", "a", 10)...)
		w.wantRefused(<-w.submit(w.Context(), many("acme", "b", 1)...), problem.RateLimited, time.Second, intake.ReasonTenantOpen, "acme may have 10")
		w.step()
		if a := <-got; a.err != nil {
			w.Error(a.err)
		}
	})
}

// days is a QuotaStore that notes which day is counted for.
type days struct {
	*memory
	asked *[]time.Time
}

func (d days) CountDay(ctx context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	*d.asked = append(*d.asked, day)
	return d.memory.CountDay(ctx, day, sent)
}

// A day begins at midnight, UTC; whatever else is counted for would begin with each request.
func TestADayIsCountedFromMidnight(t *testing.T) {
	within(t, func(w *world) {
		var asked []time.Time
		w.store.later = 13*time.Hour + 7*time.Minute
		w.Intake = intake.New(intake.Config{Store: w.store, Quotas: days{w.store, &asked}, Limits: intake.Limits{EventsPerDay: 5}, Observer: w.seen, Now: w.store.now,
			NewID: func(prefix string) string { return prefix + "1" }})
		w.accepts("acme", 1)
		synctest.Wait()
		now := w.store.now().UTC()
		want := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.UTC)
		if len(asked) != 2 || !asked[0].Equal(want) || !asked[1].Equal(want) {
			w.Errorf("counted for %s, want %s", asked, want)
		}
	})
}
