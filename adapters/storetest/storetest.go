// Package storetest is the contract that every database adapter has to pass: one suite of checks
// over all that the application asks of a store.
package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/database"
	"github.com/ordinavo/webhooks/adapters/probe"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// Store is all that the application asks of a database.
type Store = database.Store

// Database is an empty, migrated database with the few operations that checks need behind the store's back.
type Database struct {
	Store
	// ReachFanOut sets the offset of fan-out's consumer group in the log.
	ReachFanOut func(ctx context.Context, position int64) error
	// MoveSecret moves a secret's stored row to another lane, as somebody with access to the tables could.
	MoveSecret func(ctx context.Context, from, to dispatch.Lane, secretID string) error
	// Damage damages what is stored of the delivery's event or subscription, as a disk could; false if it cannot.
	Damage func(ctx context.Context, d delivery.Delivery, what Damage) (done bool, err error)
	// CountRecords counts the records of a topic.
	CountRecords func(ctx context.Context, topic string) (int, error)
	// Close closes the database; a second call does nothing.
	Close func() error
}

// Damage is what is damaged.
type Damage string

// What may be damaged.
const (
	NoBody   Damage = "the body is not there"
	Body     Damage = "the body"
	State    Damage = "the subscription's row"
	NoState  Damage = "the subscription's row is not there"
	Stream   Damage = "the subscription's stream"
	Warnings Damage = "the delivery's warnings"
	Status   Damage = "the delivery's status"
	Event    Damage = "the event"
	Record   Damage = "the newest record of the delivery"
	Waits    Damage = "what waits of the delivery's tenant"
	WaitsNot Damage = "what waits of the delivery's tenant has no names"
	Jobs     Damage = "the jobs of the delivery's tenant"
)

// T is what a check tells its findings to.
type T = probe.T

// Check is one promise of the contract.
type Check struct {
	Name string
	run  func(w *world)
}

// Checks lists all of them.
func Checks() []Check {
	return slices.Concat(intakeChecks, backlogChecks, subscriptionChecks, historyChecks, secretChecks, scheduleChecks, turnChecks, leaseChecks, unreadableChecks, saveChecks,
		propertyChecks, takeoverChecks, healthChecks, circuitChecks, sweepChecks, retentionChecks, deliveryChecks, countChecks, eventChecks, retryChecks, directoryChecks, tenantChecks, keyChecks,
		idempotencyChecks, jobChecks, missingChecks, liveChecks, catchUpChecks, metricsChecks, rebuildChecks, reconciliationChecks, isolationChecks, failureChecks, resealChecks)
}

// Run holds a database adapter to the contract; open makes a new database for each check.
func Run(t *testing.T, open func(t *testing.T) Database) {
	for _, c := range Checks() {
		t.Run(c.Name, func(t *testing.T) { c.run(newWorld(t.Context(), t, open(t))) })
	}
}

// Probe runs the check with this name, which must be there, and returns what it found wrong.
func Probe(t *testing.T, name string, db Database) []string {
	t.Helper()
	i := slices.IndexFunc(Checks(), func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no check %q", name)
	}
	return probe.Findings(name, func(found T) { Checks()[i].run(newWorld(t.Context(), found, db)) })
}

// start is when every check begins.
var start = time.Date(2026, 7, 1, 12, 0, 0, 123456000, time.UTC)

// at is a moment of a check, in seconds after its beginning.
func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }
