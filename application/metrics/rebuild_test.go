package metrics_test

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Whatever happens in between, with whatever errors: the rebuilt counts are the fold of the log, and the live one's.
func TestTheRebuiltCountsAreTheFoldOfTheLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l, now := newLog(), time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
		clock := func() time.Time { return now }
		p, r := metrics.NewProjection(l, clock), metrics.NewRebuild(l, clock, time.Hour)
		fold := map[metrics.Key]int64{}
		shown := int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"attempts": func(t *rapid.T) {
				a := metrics.Attempt{Tenant: "acme", SubscriptionID: "sub_1", End: delivery.End{
					Kind: delivery.KindSucceeded, At: now, Duration: time.Duration(rapid.IntRange(0, 9).Draw(t, "ms")) * time.Millisecond}}
				n := rapid.SampledFrom([]int{1, 2000, 2001, 4500}).Draw(t, "attempts")
				for range n {
					l.attempts = append(l.attempts, a)
				}
				fold[metrics.Key{Tenant: a.Tenant, Minute: now.Unix() / 60, SubscriptionID: a.SubscriptionID, Outcome: a.Kind, Bucket: metrics.BucketOf(a.Duration)}] += int64(n)
			},
			"count":     func(*rapid.T) { _, _ = p.Step(t.Context()) },
			"rebuild":   func(*rapid.T) { _ = r.Step(t.Context()) },
			"break off": func(*rapid.T) { r = metrics.NewRebuild(l, clock, time.Hour) },
			"disturb":   func(*rapid.T) { l.fail = errors.New("the disk is full") },
			"mend":      func(*rapid.T) { l.fail = nil },
			"": func(t *rapid.T) {
				if l.shown() < shown {
					t.Fatalf("%d attempts are shown after %d", l.shown(), shown)
				}
				shown = l.shown()
			},
		})
		l.fail = nil
		finish(t, r)
		for range 100 {
			if _, err := p.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if got := l.generations[l.live].counts; !maps.Equal(got, fold) {
			t.Fatalf("counted %v, want %v", got, fold)
		}
	})
}

// stepper is a *testing.T or a *rapid.T.
type stepper interface {
	rapid.TB
	Context() context.Context
}

// finish steps until the rebuild is done.
func finish(t stepper, r *metrics.Rebuild) {
	t.Helper()
	for range 1000 {
		if r.Progress().Done {
			return
		}
		if err := r.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("it does not end: %+v", r.Progress())
}

func TestARebuildCountsNothingThatIsTooOld(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	l := newLog()
	for _, ended := range []time.Duration{-2 * time.Hour, -61 * time.Minute, -59 * time.Minute, 0} {
		l.attempts = append(l.attempts, metrics.Attempt{Tenant: "acme", End: delivery.End{At: now.Add(ended)}})
	}
	r := metrics.NewRebuild(l, func() time.Time { return now }, time.Hour)
	finish(t, r)
	if want := (metrics.Progress{Records: 4, Attempts: 2, Share: 1, Done: true}); r.Progress() != want || l.shown() != 2 {
		t.Errorf("got %+v, and %d are shown", r.Progress(), l.shown())
	}
}

// The live one has counted what retention has deleted since: the rebuilt one gets as far without reading it.
func TestARebuildPassesWhatIsDeleted(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	l := newLog()
	l.generations[1] = generation{7, map[metrics.Key]int64{}}
	l.deleted = 5
	l.attempts = make([]metrics.Attempt, 5)
	finish(t, metrics.NewRebuild(l, func() time.Time { return now }, time.Hour))
	if at := l.generations[l.live].offset; l.live != 2 || at != 7 {
		t.Errorf("generation %d is live, at %d", l.live, at)
	}
}

func TestARebuildEndsWhenAnotherBegins(t *testing.T) {
	l, clock := newLog(), time.Now
	l.attempts = make([]metrics.Attempt, 10)
	first, second := metrics.NewRebuild(l, clock, 1<<62), metrics.NewRebuild(l, clock, 1<<62)
	for _, r := range []*metrics.Rebuild{first, second} {
		if err := r.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := first.Step(t.Context()); !errors.Is(err, metrics.ErrSuperseded) {
		t.Errorf("got %v", err)
	}
	finish(t, second)
}

// While a rebuild counts, the live one goes on: the rebuild catches up, however often it finds itself behind.
func TestARebuildCatchesUpWithTheLiveOne(t *testing.T) {
	l, clock := newLog(), time.Now
	grow := func() {
		for range 10 {
			l.attempts = append(l.attempts, metrics.Attempt{Tenant: "acme", End: delivery.End{At: clock()}})
		}
	}
	grow()
	p, r := metrics.NewProjection(l, clock), metrics.NewRebuild(l, clock, time.Hour)
	for range 3 {
		for range 2 { // it begins a round, and comes to the end of the log
			if err := r.Step(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		grow()
		if _, err := p.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	finish(t, r)
	if l.live != 2 || l.shown() != 40 {
		t.Errorf("generation %d is live, and shows %d", l.live, l.shown())
	}
}
