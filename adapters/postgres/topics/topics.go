// Package topics stores the log's topics, and how far each group has read them, in PostgreSQL.
//
// They are read by watermill-sql, whose loop begins a transaction, selects, hands over and acknowledges, through
// adapters of ours (loop.go). One of its messages is a whole batch. The adapters ensure what its loop alone would not:
//
//   - No transaction is open while there is nothing to read, nor while a message waits for somebody who receives it:
//     it begins with the first Join, or else with the acknowledgement.
//   - Nothing is kept of a message that was not acknowledged: the loop commits what a handler wrote before it was cut
//     off, and sends a nacked message again in the same transaction. The relay behind its channel acknowledges towards
//     the loop in any case and keeps what failed; the acknowledgement then has that error, and the loop reads anew.
//   - The commit is part of the acknowledgement, since the loop takes a commit that failed for a success.
//   - Rows are read to their end before the first is handed over, since the loop does not see an error there.
//   - Waiting is done where a wake-up, or closing, ends it.
//
// When several processes read a topic for a group, the one that acknowledged last goes on while the others stand by.
package topics

import (
	"context"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Topics are those of one database.
type Topics struct{ db *postgres.DB }

// Of gives the topics of db to eventlog.New.
func Of(db *postgres.DB) Topics { return Topics{db} }

// WatchTopic hears of each commit that appended to the topic.
func (t Topics) WatchTopic(topic string) *wakeup.Watch { return t.db.WatchTopic(topic) }

// Append appends records to a topic, just before the commit.
func (t Topics) Append(ctx context.Context, topic string, messages []eventlog.Record, at time.Time) error {
	list := make([]records.Record, len(messages))
	for i, m := range messages {
		list[i] = records.Record{Topic: topic, Type: m.Type, Tenant: tenant.ID(m.TenantID), Stream: m.Stream, Data: m.Data, Metadata: m.Metadata, At: at}
	}
	return t.db.Update(ctx, func(ctx context.Context, tx *postgres.Tx) error { return tx.Publish(ctx, list...) })
}

// Source reads a topic for a group.
func (t Topics) Source(key eventlog.GroupTopic, options eventlog.Options) eventlog.Source {
	return &source{db: t.db, key: key, patience: options.Recheck}
}

// source is one reader's, and for one goroutine at a time.
type source struct {
	db       *postgres.DB
	key      eventlog.GroupTopic
	patience time.Duration // with another process that makes no progress with what there is

	seenFrom  int64 // the offset at which another process's turn was first respected,
	seenSince time.Time
}

// lock is the key of the group's advisory lock.
func (s *source) lock() int64 {
	hash := fnv.New64a()
	_, _ = hash.Write([]byte(s.key.Group + "\x00" + s.key.Topic))
	return int64(hash.Sum64())
}

// Begin claims the group's turn for the transaction, in the round trip of what its user sends first, which is refused when the turn is
// another process's.
func (s *source) Begin(ctx context.Context, from, to int64) (eventlog.Tx, error) {
	tx, err := s.db.Begin(ctx)
	if err != nil {
		return nil, err
	}
	tx.Require(fmt.Errorf("claim the group's turn: %w", eventlog.ErrSuperseded), claim, s.lock(), s.key.Group, s.key.Topic, from)
	return batchTx{tx, s, from, to}, nil
}

// batchTx is the transaction of a batch.
type batchTx struct {
	*postgres.Tx
	source   *source
	from, to int64
}

// Context makes postgres.DB.Update join the transaction.
func (t batchTx) Context(ctx context.Context) context.Context { return postgres.WithTx(ctx, t.Tx) }

// Commit moves the offset in the round trip that writes the log.
func (t batchTx) Commit() error {
	move := moveOffset
	if t.from == 0 {
		move = beginOffset
	}
	t.ExecLast(fmt.Errorf("move the offset: %w", eventlog.ErrSuperseded), move, t.source.key.Group, t.source.key.Topic, t.from, t.to, t.source.db.Name())
	return t.Tx.Commit()
}
