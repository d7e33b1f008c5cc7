package wakeup

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func heard(w *Watch) bool {
	select {
	case <-w.C:
		return true
	default:
		return false
	}
}

func TestSignalsReachWhoWatches(t *testing.T) {
	signals := &Signals{}
	a, b, queue := signals.WatchTopic("a"), signals.WatchTopic("b"), signals.WatchQueue()
	// A topic may have any name; none is the queue's.
	empty := signals.WatchTopic("")

	signals.Committed([]string{"a"}, false)
	signals.Committed([]string{"a"}, false) // coalesces, and does not block
	if !heard(a) || heard(a) {
		t.Error("two commits to a topic are to be one signal while nobody receives")
	}
	if heard(b) || heard(queue) || heard(empty) {
		t.Error("a commit woke who does not watch its topic")
	}

	signals.Committed(nil, true)
	if !heard(queue) || heard(a) || heard(empty) {
		t.Error("a change of the queue is to wake the queue's watchers alone")
	}

	a.Stop()
	a.Stop()
	b.Stop()
	queue.Stop()
	empty.Stop()
	signals.Committed([]string{"a"}, true)
	if heard(a) || heard(queue) {
		t.Error("a stopped watch was woken")
	}
	if n := len(signals.watchers); n != 0 {
		t.Errorf("%d keys are kept after the last watch stopped", n)
	}
}

func TestAWatchTellsOfWhatIsDueAndOfWhatHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		signals, told := &Signals{}, []string(nil)
		wants := func(want ...string) {
			t.Helper()
			if synctest.Wait(); !slices.Equal(told, want) {
				t.Errorf("told %q, want %q", told, want)
			}
			told = nil
		}
		tell := func(what string) func(dispatch.Lane) {
			return func(of dispatch.Lane) { told = append(told, what+" "+of.SubscriptionID) }
		}
		ctx, stop := context.WithCancel(t.Context())
		go signals.Watch(ctx, func() { told = append(told, "due") }, tell("subscription"), tell("receiver"))
		wants("due") // for what was committed before
		lane := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}
		signals.Committed(SubscriptionTopics(lane, []subscription.Change{subscription.FilterChanged{}}), false)
		wants("subscription sub_1")
		signals.Committed(SubscriptionTopics(lane, []subscription.Change{subscription.EndpointChanged{}}), true)
		wants("subscription sub_1", "receiver sub_1", "due")
		signals.All()
		wants("due")
		stop()
		synctest.Wait()
		signals.Committed(SubscriptionTopics(lane, []subscription.Change{subscription.EndpointChanged{}}), true)
		if wants(); len(signals.watchers) != 0 {
			t.Errorf("%d keys are kept after the end", len(signals.watchers))
		}
	})
}
