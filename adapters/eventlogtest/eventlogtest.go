// Package eventlogtest is the contract that the log has to keep on every database: one suite of checks in addition to Watermill's own.
package eventlogtest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/probe"
)

// Database is an empty, migrated database with the few operations that checks need behind the log's back.
type Database struct {
	eventlog.Database
	// Exec runs a statement in the transaction that ctx carries, else in one of its own.
	Exec func(ctx context.Context, statement string) error
	// Count runs a query for one number.
	Count func(ctx context.Context, query string) (int64, error)
	// Begin begins a transaction that belongs to no message.
	Begin func(ctx context.Context) (commit func() error, err error)
	// Insert writes a record in its stored form at the next position.
	Insert func(ctx context.Context, topic string, r eventlog.Record) error
	// Another is the same database as seen by another process.
	Another func() Database
	// Ended is the error of a write in a transaction that has ended.
	Ended error
}

// T is what a check tells its findings to.
type T = probe.T

// Check is one promise of the contract.
type Check struct {
	Name string
	run  func(w *World)
}

// patience is how long a check waits for something that must happen.
const patience = 90 * time.Second

// Checks lists all of them.
func Checks() []Check { return slices.Concat(messageChecks, batchChecks, answerChecks) }

// Run holds a database to the contract; open makes a new one for each check.
func Run(t *testing.T, open func(t *testing.T) Database) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			w := NewWorld(t.Context(), t, open(t))
			defer w.Close()
			c.run(w)
		})
	}
}
