package wakeup

import "slices"

// Touched is what a transaction touched, and who waits for its end. A transaction embeds it.
type Touched struct {
	Topics []string // appended to
	Queue  bool     // what is due has changed
	ended  []func(committed bool)
}

// Appended notes that the transaction wrote to a topic, so that its readers wake up after the commit.
func (t *Touched) Appended(topic string) {
	if !slices.Contains(t.Topics, topic) {
		t.Topics = append(t.Topics, topic)
	}
}

// QueueChanged notes that the transaction made deliveries due, so that dispatchers wake up after the commit.
func (t *Touched) QueueChanged() { t.Queue = true }

// WhenEnded calls fn once the transaction is durable, or is undone. fn must not block.
func (t *Touched) WhenEnded(fn func(committed bool)) { t.ended = append(t.ended, fn) }

// Tell wakes the watchers of what was committed, and tells who waits for the end. Told again it does nothing.
func (t *Touched) Tell(signals *Signals, committed bool) {
	if committed {
		signals.Committed(t.Topics, t.Queue)
	}
	for _, fn := range t.ended {
		fn(committed)
	}
	*t = Touched{}
}
