// Package wakeup tells readers of a database what a commit touched, so that nobody has to poll.
package wakeup

import (
	"context"
	"sync"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// Watch is a subscription to commits. Stop it when it is no longer needed.
type Watch struct {
	// C receives after a commit of interest. Signals coalesce: one is kept while nobody
	// receives, so a watcher that reads the data after each receive misses nothing.
	C    <-chan struct{}
	stop func()
}

// Stop ends the watch. It may be called more than once; C is never closed.
func (w *Watch) Stop() { w.stop() }

// WatchTopic signals each commit that appended to topic.
func (s *Signals) WatchTopic(topic string) *Watch { return s.watch(signalKey{topic: topic}) }

// WatchQueue signals each commit that made deliveries due.
func (s *Signals) WatchQueue() *Watch { return s.watch(signalKey{queue: true}) }

// signalKey names what is watched: a topic, or the queue.
type signalKey struct {
	topic string
	queue bool
}

// Signals passes commits on to watchers. The zero value is ready for use.
type Signals struct {
	mu       sync.Mutex
	watchers map[signalKey]map[chan struct{}]struct{}
	hearers  map[*func(Change)]struct{} // of changed subscriptions
}

func (s *Signals) watch(key signalKey) *Watch {
	c := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watchers == nil {
		s.watchers = map[signalKey]map[chan struct{}]struct{}{}
	}
	if s.watchers[key] == nil {
		s.watchers[key] = map[chan struct{}]struct{}{}
	}
	s.watchers[key][c] = struct{}{}
	return &Watch{C: c, stop: func() { s.forget(key, c) }}
}

func (s *Signals) forget(key signalKey, c chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watchers[key], c)
	if len(s.watchers[key]) == 0 {
		delete(s.watchers, key)
	}
}

// Watch calls due at once and after each commit that made deliveries due, subscription for each one that a commit is known to have
// changed, and receiver if what its receiver did counts no more, until ctx ends. subscription and receiver must not block.
func (s *Signals) Watch(ctx context.Context, due func(), subscription, receiver func(dispatch.Lane)) {
	watch := s.WatchQueue()
	defer watch.Stop()
	defer s.HearSubscriptions(func(c Change) {
		if c.Anew {
			receiver(c.Lane)
		} else {
			subscription(c.Lane)
		}
	})()
	due() // for what was committed before it listened
	for {
		select {
		case <-ctx.Done():
			return
		case <-watch.C:
			due()
		}
	}
}

// Committed wakes the watchers of what a transaction touched. It never blocks.
func (s *Signals) Committed(topics []string, queue bool) {
	if len(topics) == 0 && !queue {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, topic := range topics {
		s.wake(signalKey{topic: topic})
		s.tell(topic)
	}
	if queue {
		s.wake(signalKey{queue: true})
	}
}

func (s *Signals) wake(key signalKey) {
	for c := range s.watchers[key] {
		select {
		case c <- struct{}{}:
		default: // a signal is waiting already
		}
	}
}

// All wakes every watcher.
func (s *Signals) All() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.watchers {
		s.wake(key)
	}
}
