package eventlog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	wsql "github.com/ThreeDotsLabs/watermill-sql/v4/pkg/sql"
	"github.com/ThreeDotsLabs/watermill/message"

	"github.com/ordinavo/webhooks/adapters/postgres"
)

// ErrClosed says that the publisher or subscriber was closed.
var ErrClosed = errors.New("closed")

// Publisher appends messages to the log as records of their own.
type Publisher struct {
	through *wsql.Publisher
	closed  atomic.Bool
}

// Publisher makes one; there may be any number.
func (l *Log) Publisher() *Publisher {
	through, err := wsql.NewPublisher(appender{l.db}, wsql.PublisherConfig{SchemaAdapter: schema{log: l}}, nil)
	if err != nil {
		panic(fmt.Sprintf("eventlog: a publisher with all that it needs: %v", err))
	}
	return &Publisher{through: through}
}

// Publish appends all messages to topic, or none. It joins the transaction that the context of the
// first message carries, and is durable when that commits; else it returns when it is durable.
func (p *Publisher) Publish(topic string, messages ...*message.Message) error {
	if p.closed.Load() {
		return fmt.Errorf("publish to %s: %w", topic, ErrClosed)
	}
	if len(messages) == 0 {
		return nil
	}
	if err := p.through.Publish(topic, messages...); err != nil {
		return fmt.Errorf("publish to %s: %w", topic, err)
	}
	return nil
}

// Close refuses what is published after it. There is nothing to wait for: Publish is synchronous.
func (p *Publisher) Close() error {
	p.closed.Store(true)
	return nil
}

// appender runs the publisher's one query: the log is appended to just before the commit.
type appender struct{ db *postgres.DB }

// ExecContext appends the messages that the schema adapter has put into args.
func (a appender) ExecContext(ctx context.Context, _ string, args ...any) (wsql.Result, error) {
	messages, ok := args[0].([]postgres.Message)
	if !ok {
		return nil, errors.New("a query that is not the schema adapter's")
	}
	return affected(len(messages)), a.db.Update(ctx, func(ctx context.Context, tx *postgres.Tx) error { return tx.Publish(ctx, messages) })
}

// QueryContext is not asked for by a publisher.
func (appender) QueryContext(context.Context, string, ...any) (wsql.Rows, error) {
	return nil, errors.ErrUnsupported
}

// affected is how many rows a statement has changed.
type affected int64

// RowsAffected is the number itself.
func (n affected) RowsAffected() (int64, error) { return int64(n), nil }

// isolation is what a reader needs: its offset is guarded by comparison.
const isolation = sql.LevelReadCommitted
