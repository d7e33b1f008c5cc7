// Package eventlog is the log as Watermill sees it: each topic of the records table can be
// published to and subscribed to, by consumer group, in position order.
//
// A message and what its handler writes through Join or InTransaction commit together with the
// group's offset, or not at all. The writer is not taken while there is nothing to read, nor while
// a message waits for somebody who receives it.
//
// The subscriber is our own, and not that of watermill-sql v4.1.2 with adapters for SQLite, because
// its transaction spans too much for a database with one writer, and ends the wrong way:
//
//   - It begins before it reads and keeps the transaction until the message is answered, also while
//     the message waits for a receiver. Meanwhile nobody can write, not even who should receive;
//     Watermill's conformance suite stands still there until the ack deadline.
//   - When it closes, or the ack deadline passes, it commits what the handler has written so far,
//     without the offset: the effects come twice.
//   - A nacked message is sent again inside the same transaction, on top of what the failed
//     attempt wrote, after a sleep that holds the writer and that closing does not end.
//   - In a batch that closing cuts short it commits the writes of the unanswered message with the
//     offset of those before it.
//   - An error of the commit is logged and treated as success, without a pause before the next
//     try; an error that ends the reading of rows early is not seen at all.
//
// Each can be hidden behind its Beginner, Tx, SchemaAdapter, OffsetsAdapter and BackoffManager, and a
// relay behind its channel. What is left of it then is less than the disguise.
package eventlog

import (
	"log/slog"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/adapters/sqlite"
)

// Log is the records table of one database as a Watermill pub/sub.
type Log struct {
	db     *sqlite.DB
	logger *slog.Logger
	now    func() time.Time

	mu    sync.Mutex
	turns map[groupTopic]chan struct{} // one reader at a time for a group in a topic
}

// groupTopic names what has one offset.
type groupTopic struct{ group, topic string }

// New makes the log of db. Its users take one Log for one DB: readers of a group take turns within it.
// now gives published records their time.
func New(db *sqlite.DB, logger *slog.Logger, now func() time.Time) *Log {
	return &Log{db: db, logger: logger, now: now, turns: map[groupTopic]chan struct{}{}}
}

// turn is held by the reader that puts its token in.
func (l *Log) turn(key groupTopic) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns[key] == nil {
		l.turns[key] = make(chan struct{}, 1)
	}
	return l.turns[key]
}
