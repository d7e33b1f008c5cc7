package eventlog

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"
)

// ErrClosed says that the publisher or subscriber was closed.
var ErrClosed = errors.New("closed")

// Publisher appends messages to the log as records of their own.
type Publisher struct {
	log    *Log
	closed atomic.Bool
}

// Publisher makes a publisher; there may be any number.
func (l *Log) Publisher() message.Publisher { return &Publisher{log: l} }

// Publish appends all messages to topic, or none. If the context of the first message carries a transaction it joins that, and the messages
// are durable when it commits; otherwise they are durable when Publish returns.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if p.closed.Load() {
		return fmt.Errorf("publish to %s: %w", topic, ErrClosed)
	}
	if len(messages) == 0 {
		return nil
	}
	records := make([]Record, len(messages))
	for i, msg := range messages {
		var err error
		if records[i], err = recordOf(msg); err != nil {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
	}
	if err := p.log.db.Append(messages[0].Context(), topic, records, p.log.now()); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Close makes later calls of Publish fail. There is nothing to wait for: Publish is synchronous.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}
