package subscriptions_test

import (
	"context"
	"runtime"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Whatever is done to a subscription: its history has every state that it went through, pages give the same as one
// list, and a moment or a version shows the state that was then.
func TestHistory(t *testing.T) {
	w := newWorld(t)
	history := &subscriptions.History{Store: w.Store}
	rapid.Check(t, func(rt *rapid.T) {
		states := w.lived(rt)
		lane := dispatch.Lane{Tenant: "acme", SubscriptionID: states[0].ID}
		limit, before := rapid.IntRange(1, 4).Draw(rt, "limit"), int64(0)
		for n := len(states); n > 0; {
			page, err := history.Page(t.Context(), lane, before, limit)
			if err != nil || len(page) != min(limit, n) {
				rt.Fatalf("before %d: %d entries, %v", before, len(page), err)
			}
			for _, e := range page {
				n--
				before = e.After.Version
				if n > 0 && !same(e.Before, states[n-1]) || n == 0 && e.Before.Version != 0 || !same(e.After, states[n]) || e.By != anActor {
					rt.Fatalf("entry %d is %+v", n, e)
				}
			}
		}
		for i, want := range states {
			got, err := history.Version(t.Context(), lane, want.Version)
			check(rt, "version", got, want, err)
			if i == len(states)-1 || states[i+1].UpdatedAt.After(want.UpdatedAt) {
				got, err = history.At(t.Context(), lane, want.UpdatedAt)
				check(rt, "moment", got, want, err)
			}
		}
		if _, err := history.At(t.Context(), lane, states[0].CreatedAt.Add(-time.Microsecond)); !problem.Is(err, problem.NotFound) {
			rt.Fatalf("before it was created: %v", err)
		}
		if _, err := history.Version(t.Context(), lane, int64(len(states))+1); !problem.Is(err, problem.NotFound) {
			rt.Fatalf("a version to come: %v", err)
		}
	})
}

func check(rt *rapid.T, what string, got, want subscription.Subscription, err error) {
	rt.Helper()
	if want.Status == subscription.StatusDeleted {
		if !problem.Is(err, problem.NotFound) {
			rt.Fatalf("%s of what was deleted: %v", what, err)
		}
	} else if err != nil || !same(got, want) {
		rt.Fatalf("%s: got %+v, %v, want %+v", what, got, err, want)
	}
}

func same(a, b subscription.Subscription) bool {
	return a.Version == b.Version && a.Status == b.Status && a.Name == b.Name && a.Secrets == b.Secrets && a.UpdatedAt.Equal(b.UpdatedAt)
}

var anActor = subscriptions.Actor{KeyID: "key_1", KeyName: "ERP", TraceParent: "00-1-2-01"}

// lived is every state of a subscription that admins did things to.
func (w *world) lived(rt *rapid.T) []subscription.Subscription {
	made, _, err := w.created("acme", subscription.Settings{Name: "n", URL: "https://erp.example.com/", EventTypes: []string{"*"}, Timeout: time.Second, MaxInFlight: 1}, anActor)
	w.ok(err)
	states, lane := []subscription.Subscription{made}, dispatch.Lane{Tenant: "acme", SubscriptionID: made.ID}
	for range rapid.IntRange(0, 6).Draw(rt, "changes") {
		w.now = w.now.Add(time.Duration(rapid.IntRange(0, 2).Draw(rt, "seconds")) * time.Second)
		var after subscription.Subscription
		switch rapid.IntRange(0, 4).Draw(rt, "what") {
		case 0:
			after, err = w.service.Pause(w.Context(), lane, subscriptions.AnyVersion, "because", anActor)
		case 1:
			after, err = w.service.Resume(w.Context(), lane, subscriptions.AnyVersion, false, anActor)
		case 2:
			after, err = w.service.CompleteRotation(w.Context(), lane, subscriptions.AnyVersion, anActor)
			if after.Version == states[len(states)-1].Version {
				after, _, err = w.service.RotateSecret(w.Context(), lane, subscriptions.AnyVersion, time.Hour, anActor)
			}
		default:
			name := rapid.StringMatching("[a-z]{1,3}").Draw(rt, "name")
			after, err = w.service.Update(w.Context(), lane, subscriptions.AnyVersion, anActor, func(s *subscription.Settings) { s.Name = name })
		}
		w.ok(err)
		if after.Version > states[len(states)-1].Version {
			states = append(states, after)
		}
	}
	if rapid.Bool().Draw(rt, "deleted") {
		w.ok(w.service.Delete(w.Context(), lane, subscriptions.AnyVersion, anActor))
		last := states[len(states)-1]
		last.Status, last.Version, last.UpdatedAt = subscription.StatusDeleted, last.Version+1, w.now
		states = append(states, last)
	}
	return states
}

// longHistory is a subscription that was changed over and over.
type longHistory struct{ changes []subscriptions.Recorded }

func (l longHistory) SubscriptionHistory(context.Context, dispatch.Lane) ([]subscriptions.Recorded, error) {
	return l.changes, nil
}

func (longHistory) GatedEvents(context.Context, dispatch.Lane, int64, int64) ([]subscriptions.Gated, error) {
	return nil, nil
}

// Several pages may be asked for at once, and a script may have changed a subscription every half hour for years.
func TestAPageKeepsNoMoreThanItShows(t *testing.T) {
	l := longHistory{make([]subscriptions.Recorded, 50_000)}
	for i := range l.changes {
		l.changes[i].Change = subscription.Resumed{}
		if i%2 == 1 {
			l.changes[i].Change = subscription.Paused{}
		}
	}
	l.changes[0].Change = subscription.Created{}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	page, err := (&subscriptions.History{Store: l}).Page(t.Context(), dispatch.Lane{}, 0, 50)
	runtime.ReadMemStats(&after)
	if err != nil || len(page) != 50 || page[0].After.Version != 50_000 {
		t.Fatalf("%d entries, %v", len(page), err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 8<<20 {
		t.Errorf("a page of 50 of 50,000 changes took %d bytes", took)
	}
}
