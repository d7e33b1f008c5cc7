package wakeup

import (
	"slices"
	"sync"
)

// Touched is what a transaction touched, and who waits for it to end. Transactions embed it. Another goroutine may end the
// transaction while its user is still working in it.
type Touched struct {
	Topics []string // appended to
	Queue  bool     // what is due has changed

	mu    sync.Mutex
	ended []func(committed bool)
	over  bool // it has ended
	kept  bool // and it was committed
}

// Appended notes that the transaction wrote to a topic, so that its readers wake up after the commit.
func (t *Touched) Appended(topic string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.Topics, topic) {
		t.Topics = append(t.Topics, topic)
	}
}

// QueueChanged notes that the transaction made deliveries due, so that dispatchers wake up after the commit.
func (t *Touched) QueueChanged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.Queue = true
}

// WhenEnded calls fn once the transaction is durable or undone; at once if it has ended already. fn must not block.
func (t *Touched) WhenEnded(fn func(committed bool)) {
	t.mu.Lock()
	over, kept := t.over, t.kept
	if !over {
		t.ended = append(t.ended, fn)
	}
	t.mu.Unlock()
	if over {
		fn(kept)
	}
}

// Tell wakes the watchers of what was committed and calls those who wait for the end. A second call does nothing.
func (t *Touched) Tell(signals *Signals, committed bool) {
	t.mu.Lock()
	if t.over {
		t.mu.Unlock()
		return
	}
	t.over, t.kept = true, committed
	topics, queue, ended := t.Topics, t.Queue, t.ended
	t.ended = nil
	t.mu.Unlock()
	if committed {
		signals.Committed(topics, queue)
	}
	for _, fn := range ended {
		fn(committed)
	}
}
