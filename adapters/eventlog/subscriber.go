package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ThreeDotsLabs/watermill/message"
)

// Options of a subscriber; zero values mean the defaults.
type Options struct {
	// Batch is how many messages at most share a transaction, 1 to 1000 (default 1). They are handed over one by one and kept
	// together: when one fails, all come again, each in its own transaction.
	Batch int
	// Bytes ends a batch with the record that brings its stored size to as many bytes (default 1 MiB).
	Bytes int
	// AckDeadline is how long a handler has for a message (default 30 s). Then its context is cancelled, its transaction is
	// rolled back and the message comes again.
	AckDeadline time.Duration
	// Recheck is how often an idle reader looks without having been woken (default 1 s), and so finds what another process wrote. It
	// takes no lock.
	Recheck time.Duration
	// MaxPause bounds the pause before a message that failed comes again (default 1 s):
	// 100 ms, doubled with each failure in a row.
	MaxPause time.Duration
}

func (o Options) withDefaults() (Options, error) {
	if o.Batch == 0 {
		o.Batch = 1
	}
	if o.Bytes == 0 {
		o.Bytes = 1 << 20
	}
	if o.AckDeadline == 0 {
		o.AckDeadline = 30 * time.Second
	}
	if o.Recheck == 0 {
		o.Recheck = time.Second
	}
	if o.MaxPause == 0 {
		o.MaxPause = time.Second
	}
	if o.Batch < 1 || o.Batch > 1000 {
		return o, fmt.Errorf("batch %d is not within 1 to 1000", o.Batch)
	}
	if o.Bytes < 1 {
		return o, fmt.Errorf("a batch of %d bytes holds no message", o.Bytes)
	}
	if min(o.AckDeadline, o.Recheck, o.MaxPause) < 0 {
		return o, errors.New("a duration is negative")
	}
	return o, nil
}

// Subscriber reads topics for one consumer group. A group that is new to a topic begins with its
// oldest message. One reader of the group works in a topic at a time; more of them stand by.
type Subscriber struct {
	log     *Log
	group   string
	options Options

	mu      sync.Mutex
	closing context.Context // ends with Close
	close   context.CancelFunc
	readers sync.WaitGroup
}

// Subscriber makes a subscriber for a group, whose name must not be empty.
func (l *Log) Subscriber(group string) (message.Subscriber, error) {
	options, err := l.options.withDefaults()
	if err != nil {
		return nil, fmt.Errorf("subscriber of group %q: %w", group, err)
	}
	if group == "" {
		return nil, errors.New("a subscriber needs the name of its group")
	}
	s := &Subscriber{log: l, group: group, options: options}
	s.closing, s.close = context.WithCancel(context.Background())
	return s, nil
}

// Subscribe reads topic until ctx ends or the subscriber closes; then the channel is closed. Each message must be acknowledged or nacked; a
// nacked one comes again after a pause, and nothing overtakes it.
func (s *Subscriber) Subscribe(ctx context.Context, topic string) (<-chan *message.Message, error) {
	if topic == "" {
		return nil, errors.New("subscribe: the topic has no name")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return nil, fmt.Errorf("subscribe to %s: %w", topic, ErrClosed)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.closing, cancel)
	r := newReader(s, topic)
	s.readers.Go(func() {
		defer cancel()
		defer stop()
		r.run(ctx)
	})
	return r.out, nil
}

// Close takes back unanswered messages, cancels their contexts and waits for the readers.
func (s *Subscriber) Close() error {
	s.mu.Lock()
	s.close()
	s.mu.Unlock()
	s.readers.Wait()
	return nil
}
