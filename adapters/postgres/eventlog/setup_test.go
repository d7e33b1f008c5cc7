package eventlog_test

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/postgres/eventlog"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// patience bounds a wait for something that is to happen; nothing is timed by it.
const patience = 90 * time.Second

var migrated = pgtest.Template{Prepare: func(url string) error {
	db, err := postgres.Open(postgres.Config{URL: url})
	if err != nil {
		return err
	}
	return errors.Join(db.Migrate(), db.Close())
}}

func openURL(t *testing.T, url string) *postgres.DB {
	t.Helper()
	db, err := postgres.Open(postgres.Config{URL: url, MaxConns: 32})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func open(t *testing.T) *postgres.DB {
	t.Helper()
	return openURL(t, migrated.Copy(t))
}

func newLog(t *testing.T, db *postgres.DB) *eventlog.Log {
	t.Helper()
	return eventlog.New(db, slog.New(slog.DiscardHandler), time.Now)
}

func subscriber(t *testing.T, log *eventlog.Log, group string, options eventlog.Options) *eventlog.Subscriber {
	t.Helper()
	s, err := log.Subscriber(group, options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// query scans one integer; 0 when there is no row.
func query(t *testing.T, db *postgres.DB, text string, args ...any) (n int64) {
	t.Helper()
	if err := db.Query(context.Background(), func(r pgx.Rows) error { return r.Scan(&n) }, text, args...); err != nil {
		t.Fatal(err)
	}
	return n
}
