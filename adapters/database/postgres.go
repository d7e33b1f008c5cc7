package database

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/postgres/topics"
	"github.com/ordinavo/webhooks/adapters/records"
)

// Postgres says how to reach a PostgreSQL.
type Postgres struct {
	// URL leads to the server, or to a PgBouncer in front of it; DirectURL then leads to the server itself.
	URL, DirectURL string
	// Now is this machine's clock.
	Now    func() time.Time
	Logger *slog.Logger
	// Waiting is called with the reason why the server cannot be used yet.
	Waiting func(error)
}

// OpenPostgres waits until the database answers. When ctx ends, so does the wait for the schema's version, or for others that use its tables.
func OpenPostgres(ctx context.Context, c Postgres) (Database, error) {
	db, err := postgres.Open(postgres.Config{URL: c.URL, DirectURL: c.DirectURL, Now: c.Now, Logger: c.Logger, Starting: ctx})
	if err != nil {
		return nil, err
	}
	if err := db.Await(ctx, c.Waiting); err != nil {
		_ = db.Close()
		return nil, err
	}
	return postgresServer{db}, nil
}

type postgresServer struct{ *postgres.DB }

// Lock does nothing: any number of processes serve one database.
func (s postgresServer) Lock() (unlock func() error, err error) {
	return func() error { return nil }, nil
}

// silentFor is how long a process has to be silent to count as stopped. Dead ones are taken over from sooner; one that stands still comes back.
const silentFor = 30 * time.Second

// MigrateDown refuses while processes of the service run: their statements would fail on the older schema, and /readyz would not tell.
func (s postgresServer) MigrateDown(steps int) error {
	running, err := s.Running(s.Now().Add(-silentFor))
	if err != nil {
		return fmt.Errorf("count the processes that run: %w", err)
	}
	if running > 0 {
		return fmt.Errorf("processes of the service that have run in the last %.0f seconds: %d; stop every one, wait that long, and repeat", silentFor.Seconds(), running)
	}
	return s.DB.MigrateDown(steps)
}

func (s postgresServer) Store(sealer records.Sealer) Store { return postgres.NewStore(s.DB, sealer) }

func (s postgresServer) Log(logger *slog.Logger) *eventlog.Log {
	// 8 KiB name some 400 events: that many share a transaction, however many records they came in.
	return eventlog.New(topics.Of(s.DB), eventlog.Options{Batch: 32, Bytes: 8 << 10, AckDeadline: handledWithin}, logger, s.Now)
}
