package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"

	"github.com/ordinavo/webhooks/adapters/database"
	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/seal"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/ports/cli/config"
)

// The commands that work on the database itself, beside serve or instead of it.

// rotateMaster seals everything with the first master key: of ORDINAVO_MASTER_KEY, beside processes that run with the same value, or of the
// key file, which no running process may have read.
func rotateMaster(ctx context.Context, c config.Config) (counts reseal.Counts, err error) {
	work := func(db database.Database) error {
		if err := database.Prepare(ctx, db, false); err != nil {
			return err
		}
		sealer, err := seal.Open(c.MasterKey.Reveal(), keyFile(c))
		if err == nil {
			counts, err = reseal.All(ctx, db.Store(sealer), sealer)
		}
		return err
	}
	if c.MasterKey.IsZero() {
		held := work
		work = database.Alone(func(db database.Database) error {
			return seal.RotateKeyFile(keyFile(c), func() error { return held(db) })
		})
	}
	err = withDatabase(ctx, c, work)
	return counts, err
}

func migrateUp(ctx context.Context, c config.Config) error {
	return withDatabase(ctx, c, database.Alone(func(db database.Database) error { return db.Migrate() }))
}

func migrateDown(ctx context.Context, c config.Config, steps int) error {
	return withDatabase(ctx, c, database.Alone(func(db database.Database) error { return db.MigrateDown(steps) }))
}

func schema(ctx context.Context, c config.Config) (current, newest uint, err error) {
	err = withDatabase(ctx, c, func(db database.Database) (err error) {
		current, newest, err = db.SchemaVersion()
		return err
	})
	return current, newest, err
}

// rebuildMetrics may run beside processes that serve the database, even an SQLite file: its transactions are short.
func rebuildMetrics(ctx context.Context, c config.Config, run func(context.Context, *metrics.Rebuild) error) error {
	return withDatabase(ctx, c, func(db database.Database) error {
		if err := database.Prepare(ctx, db, false); err != nil {
			return err
		}
		return run(ctx, metrics.NewRebuild(db.Store(nil), now, c.Retention.Attempts))
	})
}

// withKeys may run beside a service, which looks at the keys in the database every second.
func withKeys(ctx context.Context, c config.Config, run func(context.Context, *access.Keys) error) error {
	return withDatabase(ctx, c, func(db database.Database) error {
		if err := database.Prepare(ctx, db, false); err != nil {
			return err
		}
		return run(ctx, access.NewKeys(db.Store(nil), now, ids.New(now, rand.Reader).New, rand.Reader))
	})
}

func withDatabase(ctx context.Context, c config.Config, do func(database.Database) error) error {
	db, err := openDatabase(ctx, c, slog.Default(), func(err error) { slog.Warn("waiting for the database", "error", err) })
	if err != nil {
		return err
	}
	return errors.Join(do(db), db.Close())
}

func build() (release, commit, schema string) {
	commit = "unknown"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				commit = s.Value
			}
		}
	}
	return version, commit, fmt.Sprintf("%d (SQLite), %d (PostgreSQL)", sqlite.NewestSchema(), postgres.NewestSchema())
}
