// Package eventlog is the log as Watermill sees it: each topic of the records table can be published to and subscribed to,
// by consumer group, in position order.
//
// A message and what its handler writes through Join or InTransaction commit together with the group's offset, or not at
// all. No transaction is open while there is nothing to read, nor while a message waits to be received.
//
// How a database stores the log, and whose loop reads it, is up to its Database: adapters/sqlite/topics and
// adapters/postgres/topics.
package eventlog

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/adapters/wakeup"
)

// Database stores the records of the log and the offsets of the groups that read it.
type Database interface {
	// Append appends records to a topic, all or none: in the transaction that ctx carries, else in one of its own.
	Append(ctx context.Context, topic string, records []Record, at time.Time) error
	// Source reads a topic for a group; it is for one reader.
	Source(key GroupTopic, options Options) Source
	// WatchTopic hears of each commit that appended to the topic.
	WatchTopic(topic string) *wakeup.Watch
}

// GroupTopic identifies an offset.
type GroupTopic struct{ Group, Topic string }

// Source is a topic as one group reads it.
type Source interface {
	// Read finds what follows the group's offset, oldest first. It leaves no transaction open.
	Read(ctx context.Context, look Look) (Found, error)
	// Begin begins the transaction of a batch that was read with the offset at from, and ends at position to. If the offset
	// has moved since, or another process works for the group, it fails with ErrSuperseded, or the first use of it does.
	Begin(ctx context.Context, from, to int64) (Tx, error)
	// Run runs r step by step until ctx ends.
	Run(ctx context.Context, r *Reader)
}

// Look is what a reader asks for.
type Look struct {
	Limit, Bytes int // as in Options
	// AsStored returns records that cannot be read as they are stored; else they are an error.
	AsStored bool
}

// Found is what a source has.
type Found struct {
	From    int64 // the group's offset, 0 when it has acknowledged nothing
	Records []Record
	Standby bool // another process works for the group: no commit to the topic need wake this one
}

// Tx is the transaction of what a batch brings about.
type Tx interface {
	// Context gives a context under which writes to the database are part of the transaction.
	Context(ctx context.Context) context.Context
	// Commit makes it durable together with the group's offset, or returns ErrSuperseded when the offset has moved.
	Commit() error
	// Rollback undoes it; after a commit it does nothing.
	Rollback() error
}

// Log is the records table of one database as a Watermill pub/sub.
type Log struct {
	db      Database
	options Options
	logger  *slog.Logger
	now     func() time.Time

	mu    sync.Mutex
	turns map[GroupTopic]chan struct{} // one reader at a time per group and topic
}

// New makes the log of db. There must be one Log per database: readers of a group take turns within it. The options apply to each of its
// subscribers; now gives published records their time.
func New(db Database, options Options, logger *slog.Logger, now func() time.Time) *Log {
	return &Log{db: db, options: options, logger: logger, now: now, turns: map[GroupTopic]chan struct{}{}}
}

// turn is held by the reader whose token is in it.
func (l *Log) turn(key GroupTopic) chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns[key] == nil {
		l.turns[key] = make(chan struct{}, 1)
	}
	return l.turns[key]
}
