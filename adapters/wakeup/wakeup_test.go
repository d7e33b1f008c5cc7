package wakeup

import "testing"

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
