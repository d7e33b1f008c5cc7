package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/golang-migrate/migrate/v4"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	"github.com/golang-migrate/migrate/v4/source"
	"github.com/golang-migrate/migrate/v4/source/iofs"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/ordinavo/webhooks/adapters/schema"
	"github.com/ordinavo/webhooks/migrations"
)

// Migrate applies all migrations that are missing. When several processes migrate at once, one does it and the others wait.
func (db *DB) Migrate() error {
	// Through a PgBouncer too it can be seen that there is nothing to do.
	if current, newest, err := db.SchemaVersion(); err != nil || current != newest {
		if err := db.migrate(nil, func(m *migrate.Migrate) error { return m.Up() }); err != nil {
			return err
		}
	}
	return db.Update(db.starting, func(ctx context.Context, tx *Tx) error {
		// Older binaries read here how many shards the log has. It has one.
		if _, err := tx.Exec(ctx, `INSERT INTO log_shards (shards) VALUES (1) ON CONFLICT DO NOTHING`); err != nil {
			return err
		}
		return tx.drawBeyond(ctx)
	})
}

// MigrateDown takes back the last n migrations one by one, so that a retry never takes back more than was asked for. Nor does a call after one
// that was killed, which the server may still be at work for: see schema.From.
func (db *DB) MigrateDown(n int) error {
	applied, _, err := db.SchemaVersion()
	if err == nil {
		if err = schema.MayTakeBack(migrations.PostgreSQL, "postgres", applied, n); err != nil {
			err = fmt.Errorf("migrate: %w", err)
		}
	}
	for ; err == nil && n > 0; n-- {
		if err = db.migrate(&applied, func(m *migrate.Migrate) error { return m.Steps(-1) }); err == nil {
			applied, _, err = db.SchemaVersion()
		}
	}
	return err
}

// Running counts the processes of the service that have said since then that they live. A schema before their table has none that could.
func (db *DB) Running(since time.Time) (n int, err error) {
	err = db.query(db.starting, func(r pgx.Rows) error { return r.Scan(&n) }, countProcesses, stamp(since))
	if code(err) == codeNoSuchTable {
		return 0, nil
	}
	return n, err
}

// SchemaVersion is the database's schema version (0 before the first migration) and the newest that this binary knows.
func (db *DB) SchemaVersion() (current, newest uint, err error) {
	if newest, err = schema.Newest(migrations.PostgreSQL, "postgres"); err != nil {
		return 0, 0, err
	}
	var version *int64
	var dirty bool
	err = db.query(db.starting, func(r pgx.Rows) error { return r.Scan(&version, &dirty) }, schemaVersion)
	switch {
	case code(err) == codeNoSuchTable:
		return 0, newest, nil
	case err != nil:
		return 0, newest, fmt.Errorf("read the schema's version: %w", err)
	case version == nil:
		return 0, newest, nil
	case dirty:
		return uint(*version), newest, schema.ErrHalfWay(uint(*version))
	case uint(*version) > newest:
		return uint(*version), newest, fmt.Errorf("%w: version %d, newest known %d", schema.ErrNewer, *version, newest)
	}
	return uint(*version), newest, nil
}

// schemaVersion reads golang-migrate's own table.
const schemaVersion = `SELECT version, dirty FROM schema_migrations LIMIT 1`

// NewestSchema is the newest schema version that this binary knows.
func NewestSchema() uint {
	newest, err := schema.Newest(migrations.PostgreSQL, "postgres")
	if err != nil {
		panic(fmt.Sprintf("postgres: the embedded migrations cannot be read: %v", err))
	}
	return newest
}

// How long a migration waits for a lock, and how often it tries again. Waiting for a table's lock blocks everybody else from the table,
// so it gives up soon and lets them through: older processes are at work while the schema is migrated.
const (
	lockTimeout    = 2 * time.Second
	maxMigrations  = 100
	migrationPause = time.Second
)

// migrate runs one call of golang-migrate, and repeats it when it collided with users of the tables or with another migration, until the process
// is told to stop. It begins with the version, unless that is nil.
func (db *DB) migrate(version *uint, run func(*migrate.Migrate) error) error {
	for try := 1; ; try++ {
		if err := db.starting.Err(); err != nil {
			return fmt.Errorf("migrate: %w", err)
		}
		err := db.migrateOnce(version, run)
		met := code(schema.Cause(err))
		if met != codeLockNotAvailable && met != codeDeadlock || try == maxMigrations || !pause(db.starting, migrationPause) {
			return err
		}
		db.config.Logger.LogAttrs(db.closing, slog.LevelInfo, "the migration waits for others that use the tables", slog.Int("try", try))
	}
}

// migrateOnce refuses a schema from the future. It connects directly: the lock that keeps two processes from migrating at once belongs
// to a session.
func (db *DB) migrateOnce(version *uint, run func(*migrate.Migrate) error) (err error) {
	files, err := iofs.New(migrations.PostgreSQL, "postgres")
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	config, err := db.directConfig()
	if err != nil {
		return err
	}
	var server *pgx.Conn
	session := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		server = conn
		if err := hasPlace(ctx, conn); err != nil {
			return err
		}
		return impatient(ctx, conn)
	}))
	session.SetMaxOpenConns(1)
	m, err := newMigrate(db.starting, files, session, version)
	if err != nil {
		if server != nil { // golang-migrate may still hold it
			_ = server.PgConn().Close(db.closing)
		}
		return errors.Join(fmt.Errorf("prepare the migrations: %w", translate(db.closing, err)), session.Close())
	}
	defer func() {
		sourceErr, databaseErr := m.Close() // closes session, too
		err = errors.Join(err, sourceErr, databaseErr)
	}()
	newest, err := schema.Newest(migrations.PostgreSQL, "postgres")
	if err != nil {
		return fmt.Errorf("read the migrations: %w", err)
	}
	if version, _, err := m.Version(); err == nil && version > newest {
		return fmt.Errorf("%w: version %d, newest known %d", schema.ErrNewer, version, newest)
	}
	defer db.givePrecedence(config, server.PgConn().PID())()
	if err := run(m); err != nil && !errors.Is(err, migrate.ErrNoChange) {
		return fmt.Errorf("migrate: %w", schema.Explain(err))
	}
	return nil
}

// impatient makes a session with the server itself that never waits long for a lock, and sees what was committed until it got that. Once it has
// its locks it works for as long as a large table takes, whatever statements may take by default: one that is canceled begins anew with each
// start. All is set by a statement: as a connection parameter a PgBouncer would refuse it, before it could be recognized as one.
func impatient(ctx context.Context, conn *pgx.Conn) error {
	if err := direct(ctx, conn); err != nil {
		return err
	}
	_, err := conn.Exec(ctx, fmt.Sprintf("SET lock_timeout = %d; SET default_transaction_isolation = 'read committed';", lockTimeout.Milliseconds())+unlimited)
	return err
}

// unlimited lifts the limits that the server has: PostgreSQL knows the second from version 17 on.
const unlimited = `SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN ('statement_timeout', 'transaction_timeout')`

func newMigrate(starting context.Context, files source.Driver, session *sql.DB, version *uint) (*migrate.Migrate, error) {
	target, err := migratepgx.WithInstance(session, &migratepgx.Config{})
	if err != nil {
		return nil, err
	}
	if version != nil {
		target = schema.From(target, *version)
	}
	return migrate.NewWithInstance("embedded", files, "pgx5", schema.Until(starting, schema.Atomic(target)))
}
