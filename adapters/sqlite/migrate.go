package sqlite

import (
	"errors"
	"fmt"

	"github.com/golang-migrate/migrate/v4"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/ordinavo/webhooks/adapters/schema"
	"github.com/ordinavo/webhooks/migrations"
)

// Migrate applies all missing migrations.
func (db *DB) Migrate() error {
	return db.migrate(func(m *migrate.Migrate) error { return m.Up() })
}

// MigrateDown undoes the last n migrations.
func (db *DB) MigrateDown(n int) error {
	return db.migrate(func(m *migrate.Migrate) error {
		applied, _, err := m.Version()
		if errors.Is(err, migrate.ErrNilVersion) {
			applied, err = 0, nil
		}
		if err == nil {
			err = schema.MayTakeBack(migrations.SQLite, "sqlite", applied, n)
		}
		if err != nil {
			return err
		}
		return m.Steps(-n)
	})
}

// SchemaVersion is the file's schema version (0 before the first migration) and the newest that this binary knows.
func (db *DB) SchemaVersion() (current, newest uint, err error) {
	if newest, err = schema.Newest(migrations.SQLite, "sqlite"); err != nil {
		return 0, 0, err
	}
	err = db.migrate(func(m *migrate.Migrate) error {
		version, dirty, err := m.Version()
		if errors.Is(err, migrate.ErrNilVersion) {
			return nil
		}
		if err == nil && dirty {
			err = schema.ErrHalfWay(version)
		}
		current = version
		return err
	})
	return current, newest, err
}

// NewestSchema is the newest schema version that this binary knows.
func NewestSchema() uint {
	newest, err := schema.Newest(migrations.SQLite, "sqlite")
	if err != nil {
		panic(fmt.Sprintf("sqlite: the embedded migrations cannot be read: %v", err))
	}
	return newest
}

// migrate runs one call of golang-migrate on the connections of the readers, refusing a schema from the future.
func (db *DB) migrate(run func(*migrate.Migrate) error) error {
	source, err := iofs.New(migrations.SQLite, "sqlite")
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	target, err := migratesqlite.WithInstance(db.readers, &migratesqlite.Config{})
	if err != nil {
		return fmt.Errorf("prepare the migrations: %w", err)
	}
	m, err := migrate.NewWithInstance("embedded", source, "sqlite", schema.Atomic(target))
	if err != nil {
		return fmt.Errorf("prepare the migrations: %w", err)
	}
	newest, err := schema.Newest(migrations.SQLite, "sqlite")
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	if version, _, err := m.Version(); err == nil && version > newest {
		return fmt.Errorf("%w: version %d, newest known %d", schema.ErrNewer, version, newest)
	}
	if err := run(m); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrate: %w", schema.Explain(err))
	}
	return source.Close() // not m.Close(): that would close the pool
}
