// Package topics stores the log's topics, and how far each group has read them, in SQLite. Reading does not take the writer.
//
// The loop is our own, not that of watermill-sql v4.1.2 with adapters for SQLite, because that one's
// transaction spans too much for a database with one writer, and ends the wrong way:
//
//   - It begins before reading and keeps the transaction until the message is answered, even while
//     the message waits for a receiver. Meanwhile nobody can write, not even the one who should receive;
//     Watermill's conformance suite hangs there until the ack deadline.
//   - When it closes, or the ack deadline passes, it commits what the handler has written so far,
//     without the offset: the effects come twice.
//   - A nacked message is sent again inside the same transaction, on top of what the failed
//     attempt wrote, after a sleep that holds the writer and that closing does not end.
//   - In a batch that closing cuts short, it commits the writes of the unanswered message with the
//     offset of those before it.
//   - An error of the commit is logged and treated as success, without a pause before the next
//     try; an error that ends the reading of rows early is not seen at all.
//
// Each could be worked around in its Beginner, Tx, SchemaAdapter, OffsetsAdapter and BackoffManager, and
// a relay behind its channel, but the workarounds would be more code than what is left of it.
package topics

import (
	"context"
	"errors"
	"time"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/wakeup"
)

// Topics are those of one database.
type Topics struct{ db *sqlite.DB }

// Of gives the topics of db to eventlog.New.
func Of(db *sqlite.DB) Topics { return Topics{db} }

// WatchTopic signals each commit that appended to the topic.
func (t Topics) WatchTopic(topic string) *wakeup.Watch { return t.db.WatchTopic(topic) }

// Append appends records to a topic.
func (t Topics) Append(ctx context.Context, topic string, records []eventlog.Record, at time.Time) error {
	return t.db.Update(ctx, func(ctx context.Context, tx *sqlite.Tx) error {
		for _, r := range records {
			if _, err := tx.Exec(ctx, insertRecord, topic, r.TenantID, r.Stream, r.Type, r.Data, string(r.Metadata), at.UnixMicro()); err != nil {
				return err
			}
		}
		tx.Appended(topic)
		return nil
	})
}

// Source reads a topic for a group. It also sees what another process wrote.
func (t Topics) Source(key eventlog.GroupTopic, _ eventlog.Options) eventlog.Source {
	return source{t.db, key}
}

type source struct {
	db  *sqlite.DB
	key eventlog.GroupTopic
}

// Run repeats the step.
func (source) Run(ctx context.Context, r *eventlog.Reader) {
	for ctx.Err() == nil {
		nothing, err := step(ctx, r)
		r.Settle(ctx, nothing, err)
	}
}

func step(ctx context.Context, r *eventlog.Reader) (nothing bool, err error) {
	b, err := r.Next(ctx)
	if err != nil || b == nil {
		return b == nil, err
	}
	if err := r.Deliver(ctx, b); err != nil {
		return false, err
	}
	return false, r.Keep(ctx, b)
}

// Read reads the offset and the records in two separate queries.
func (s source) Read(ctx context.Context, look eventlog.Look) (found eventlog.Found, err error) {
	if found.From, err = offset(ctx, s.db, s.key); err != nil {
		return found, err
	}
	found.Records, err = after(ctx, s.db, s.key.Topic, found.From, look)
	return found, err
}

// Begin takes the writer and moves the offset, so that whoever comes later finds it moved.
func (s source) Begin(ctx context.Context, from, to int64) (eventlog.Tx, error) {
	tx, err := s.db.Begin(ctx)
	if err != nil {
		return nil, err
	}
	if err := advance(ctx, tx, s.key, from, to); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return batchTx{tx}, nil
}

// batchTx is the transaction of a batch, whose offset is already moved.
type batchTx struct{ *sqlite.Tx }

// Context makes sqlite.DB.Update join the transaction.
func (t batchTx) Context(ctx context.Context) context.Context { return sqlite.WithTx(ctx, t.Tx) }
