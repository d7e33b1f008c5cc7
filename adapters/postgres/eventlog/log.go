// Package eventlog is the log in PostgreSQL as Watermill sees it: each topic of the records table can be
// published to and subscribed to, by consumer group, in position order.
//
// It runs on watermill-sql, whose loop asks for a transaction, selects, hands over and acknowledges, through
// adapters of ours (schema.go) and a transaction of ours (session.go). A relay stands behind its channel (relay.go). They
// keep what its loop alone would not:
//
//   - No transaction is open while there is nothing to read, nor while a message waits for somebody who receives it:
//     it begins with the first Join, or else with the acknowledgement.
//   - Nothing is kept of a message that was not acknowledged: the loop commits what a handler wrote before it was cut
//     off, and sends a nacked message again in the same transaction. The relay acknowledges towards the loop in any
//     case and marks what failed; the acknowledgement then has an error, which undoes all and reads anew.
//   - The commit is part of the acknowledgement, since the loop takes a commit that failed for a success.
//   - Rows are read to their end before the first is handed over, since the loop does not see an error there.
//   - Waiting is done where a wake-up, or closing, ends it.
//
// A group has one reader at a time in a topic: within a process they take turns, and of several processes the one
// that acknowledged last goes on while the others stand by.
package eventlog

import (
	"log/slog"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
)

// Log is the records table of one database as a Watermill pub/sub.
type Log struct {
	db     *postgres.DB
	logger *slog.Logger
	now    func() time.Time

	mu    sync.Mutex
	turns map[groupTopic]chan struct{} // one reader at a time for a group in a topic
}

// groupTopic names what has one offset.
type groupTopic struct{ group, topic string }

// New makes the log of db. Its users take one Log for one DB: readers of a group take turns within it.
// now gives published records their time.
func New(db *postgres.DB, logger *slog.Logger, now func() time.Time) *Log {
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
