package wakeup

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
)

func TestTheEndOfATransactionIsToldOnce(t *testing.T) {
	signals := &Signals{}
	topic, queue := signals.WatchTopic("a"), signals.WatchQueue()
	var told []bool
	lates := 0
	for _, committed := range []bool{false, true} {
		tx := &Touched{}
		tx.Appended("a")
		tx.Appended("a")
		tx.QueueChanged()
		tx.WhenEnded(func(committed bool) { told = append(told, committed) })
		if !slices.Equal(tx.Topics, []string{"a"}) || !tx.Queue {
			t.Errorf("touched %v and the queue %t", tx.Topics, tx.Queue)
		}
		tx.Tell(signals, committed)
		if heard(topic) != committed || heard(queue) != committed {
			t.Errorf("committed is %t, and that is not what its watchers hear", committed)
		}
		tx.Tell(signals, !committed)
		tx.WhenEnded(func(late bool) {
			if late != committed {
				t.Errorf("who asks late is told %t, and committed is %t", late, committed)
			}
			lates++
		})
		if heard(topic) || heard(queue) {
			t.Error("the end was told twice")
		}
	}
	if !slices.Equal(told, []bool{false, true}) || lates != 2 {
		t.Errorf("told %v, and %d who asked late", told, lates)
	}
}

// TestATransactionMayBeEndedByAnother has its user at work while somebody else ends it: everybody is told, once, whichever comes first.
func TestATransactionMayBeEndedByAnother(t *testing.T) {
	const rounds, waiting = 200, 20
	var told atomic.Int64
	for range rounds {
		tx := &Touched{}
		var both sync.WaitGroup
		both.Go(func() {
			for range waiting {
				tx.Appended("a")
				tx.QueueChanged()
				tx.WhenEnded(func(bool) { told.Add(1) })
			}
		})
		both.Go(func() { tx.Tell(&Signals{}, true) })
		both.Wait()
	}
	if n := told.Load(); n != rounds*waiting {
		t.Errorf("%d were told, want %d", n, rounds*waiting)
	}
}
