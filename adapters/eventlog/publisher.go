package eventlog

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/sqlite"
)

// ErrClosed says that the publisher or subscriber was closed.
var ErrClosed = errors.New("closed")

// Publisher appends messages to the log as records of their own.
type Publisher struct {
	log    *Log
	closed atomic.Bool
}

// Publisher makes one; there may be any number.
func (l *Log) Publisher() *Publisher { return &Publisher{log: l} }

// Publish appends all messages to topic, or none. It joins the transaction that the context of the
// first message carries, and is durable when that commits; else it returns when it is durable.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if p.closed.Load() {
		return fmt.Errorf("publish to %s: %w", topic, ErrClosed)
	}
	if len(messages) == 0 {
		return nil
	}
	rows := make([]row, len(messages))
	for i, msg := range messages {
		var err error
		if rows[i], err = toRow(msg); err != nil {
			return fmt.Errorf("publish to %s: %w", topic, err)
		}
	}
	err := p.log.db.Update(messages[0].Context(), func(ctx context.Context, tx *sqlite.Tx) error {
		return p.insert(ctx, tx, topic, rows)
	})
	if err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

func (p *Publisher) insert(ctx context.Context, tx *sqlite.Tx, topic string, rows []row) error {
	at := p.log.now().UnixMicro()
	for _, r := range rows {
		if _, err := tx.Exec(ctx, insertRecord, topic, r.tenantID, r.stream, r.kind, r.data, string(r.metadata), at); err != nil {
			return err
		}
	}
	tx.Appended(topic)
	return nil
}

// Close refuses what is published after it. There is nothing to wait for: Publish is synchronous.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}
