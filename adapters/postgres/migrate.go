package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/golang-migrate/migrate/v4"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/ordinavo/webhooks/migrations"
)

// ErrSchemaNewer says that the database was written by a newer binary.
var ErrSchemaNewer = errors.New("the database's schema is newer than this binary knows")

// Migrate applies all migrations that are missing. Of several processes that migrate at once one does, and the
// others wait for it.
func (db *DB) Migrate() error {
	if err := db.migrate(func(m *migrate.Migrate) error { return m.Up() }); err != nil {
		return err
	}
	return db.Update(db.closing, func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO log_shards (shards) VALUES ($1) ON CONFLICT DO NOTHING`, db.config.Shards)
		return err
	})
}

// MigrateDown takes back the last n migrations.
func (db *DB) MigrateDown(n int) error {
	return db.migrate(func(m *migrate.Migrate) error {
		applied, _, err := m.Version()
		if errors.Is(err, migrate.ErrNilVersion) {
			applied, err = 0, nil
		}
		if err == nil && uint(n) > applied {
			err = fmt.Errorf("only %d migrations can be taken back", applied)
		}
		if err != nil {
			return err
		}
		return m.Steps(-n)
	})
}

// SchemaVersion is the database's schema version (0 before the first migration) and the newest that this binary knows.
func (db *DB) SchemaVersion() (current, newest uint, err error) {
	if newest, err = newestMigration(migrations.PostgreSQL, "postgres"); err != nil {
		return 0, 0, err
	}
	err = db.migrate(func(m *migrate.Migrate) error {
		version, dirty, err := m.Version()
		if errors.Is(err, migrate.ErrNilVersion) {
			return nil
		}
		if err == nil && dirty {
			err = fmt.Errorf("migration %d stopped half-way: restore the database, or repair it and set its version", version)
		}
		current = version
		return err
	})
	return current, newest, err
}

// NewestSchema is the newest schema version that this binary knows.
func NewestSchema() uint {
	newest, err := newestMigration(migrations.PostgreSQL, "postgres")
	if err != nil {
		panic(fmt.Sprintf("postgres: the embedded migrations cannot be read: %v", err))
	}
	return newest
}

func newestMigration(files fs.FS, dir string) (uint, error) {
	all, err := iofs.New(files, dir)
	if err != nil {
		return 0, err
	}
	version, err := all.First()
	for err == nil {
		var next uint
		if next, err = all.Next(version); err == nil {
			version = next
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return version, all.Close()
}

// migrate runs one call of golang-migrate, refusing a schema from the future. It connects directly: the lock
// that keeps two processes from migrating at once belongs to a session.
func (db *DB) migrate(run func(*migrate.Migrate) error) (err error) {
	files, err := iofs.New(migrations.PostgreSQL, "postgres")
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	config, err := pgx.ParseConfig(db.config.DirectURL)
	if err != nil {
		return fmt.Errorf("the database's URL: %w", err)
	}
	direct := stdlib.OpenDB(*config)
	m, err := newMigrate(files, direct)
	if err != nil {
		return errors.Join(fmt.Errorf("prepare the migrations: %w", translate(db.closing, err)), direct.Close())
	}
	defer func() {
		sourceErr, databaseErr := m.Close() // closes direct, too
		err = errors.Join(err, sourceErr, databaseErr)
	}()
	newest, err := newestMigration(migrations.PostgreSQL, "postgres")
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	if version, _, err := m.Version(); err == nil && version > newest {
		return fmt.Errorf("%w: version %d, newest known %d", ErrSchemaNewer, version, newest)
	}
	if err := run(m); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrate: %w", err)
	}
	return nil
}

func newMigrate(files source.Driver, direct *sql.DB) (*migrate.Migrate, error) {
	target, err := migratepgx.WithInstance(direct, &migratepgx.Config{})
	if err != nil {
		return nil, err
	}
	return migrate.NewWithInstance("embedded", files, "pgx5", target)
}
