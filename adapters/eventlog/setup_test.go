package eventlog_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/sqlite"
)

// patience bounds a wait for something that is to happen; nothing is timed by it.
const patience = 90 * time.Second

func open(t *testing.T, dir string) *sqlite.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	return db
}

func newLog(t *testing.T, db *sqlite.DB) *eventlog.Log {
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

// query scans one integer.
func query(t *testing.T, db *sqlite.DB, text string, args ...any) (n int64) {
	t.Helper()
	rows, err := db.Query(context.Background(), text, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return n
}
