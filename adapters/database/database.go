// Package database opens the database that the service keeps its data in: PostgreSQL or an SQLite file.
package database

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/features"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
)

// Store is everything that the application needs from a database. Times are kept to the microsecond.
type Store interface {
	intake.Store
	intake.QuotaStore
	intake.BacklogStore
	fanout.TurnStore
	dispatch.Store
	dispatch.Incarnations
	dispatch.Secrets
	sweep.Store
	retention.Store
	subscriptions.Store
	subscriptions.TestStore
	subscriptions.HistoryStore
	subscriptions.NoticeStore
	directory.Store
	access.TenantStore
	access.KeyStore
	queries.DeliveryReader
	queries.CountReader
	queries.DeliveryStore
	queries.TestReader
	queries.EventReader
	queries.EventRetryStore
	jobs.Store
	jobs.DeliveryStore
	jobs.EventStore
	jobs.RenderStore
	idempotency.Store
	reseal.Store
	catchup.Reader
	metrics.RebuildStore
	metrics.Reader
	metrics.QueueStore
	features.Lookup
	live.Log
	live.KeyReader
	reconciliation.CheckStore
	// CheckResult is what the background checks of reconciliation have found.
	CheckResult(ctx context.Context) (reconciliation.Result, error)
	// BeginIncarnation registers this process as alive; call it before it leases anything.
	BeginIncarnation(ctx context.Context, incarnation string, now time.Time) error
	// Ping checks that the database answers.
	Ping(ctx context.Context) error
}

// Database is an open database.
type Database interface {
	Migrate() error
	// MigrateDown undoes the last migrations; no process may serve the database meanwhile.
	MigrateDown(steps int) error
	// SchemaVersion is the schema's version (0 before the first migration) and the newest that this binary knows.
	SchemaVersion() (current, newest uint, err error)
	// Lock makes sure that this process may serve the database; unlock it after serving.
	Lock() (unlock func() error, err error)
	// Waited reports whether the database was away when this process opened it.
	Waited() bool
	Connections() metrics.Connections
	// Now is the clock that all processes of the database go by: the server's, or for an SQLite file that of its one process.
	Now() time.Time
	Store(sealer records.Sealer) Store
	Log(logger *slog.Logger) *eventlog.Log
	// Watch calls due at once and after commits that made deliveries due, subscription for each one that a commit changed, and
	// receiver if what its receiver did counts no more (see subscription.ForgetsReceiver), until ctx ends. subscription and receiver must
	// not block, and may miss what another process changed.
	Watch(ctx context.Context, due func(), subscription, receiver func(dispatch.Lane))
	Close() error
}

// Prepare brings the schema up to date; with auto off it only checks that it is.
func Prepare(db Database, auto bool) error {
	if auto {
		return db.Migrate()
	}
	current, newest, err := db.SchemaVersion()
	if err == nil && current != newest {
		err = fmt.Errorf("the database has schema version %d, this binary needs %d: run migrate up", current, newest)
	}
	return err
}

// handledWithin bounds the work on one message of the log. A record of events that a thousand subscriptions want takes seconds.
const handledWithin = 5 * time.Minute

// Alone runs do under the database's lock, so that no schema or key file changes under a process that serves an SQLite file.
func Alone(do func(Database) error) func(Database) error {
	return func(db Database) error {
		unlock, err := db.Lock()
		if err != nil {
			return err
		}
		return errors.Join(do(db), unlock())
	}
}
