package topics_test

import (
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	"github.com/ordinavo/webhooks/adapters/eventlog"
	"github.com/ordinavo/webhooks/adapters/eventlogtest"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/adapters/sqlite/topics"
)

func TestLog(t *testing.T) { eventlogtest.Run(t, newDatabase) }

func TestSuiteFindsPlantedBugs(t *testing.T) { eventlogtest.FindPlantedBugs(t, newDatabase) }

func TestConformance(t *testing.T) { eventlogtest.Conform(t, newDatabase) }

func newDatabase(t *testing.T) eventlogtest.Database { return database(t, t.TempDir()) }

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

func database(t *testing.T, dir string) eventlogtest.Database {
	t.Helper()
	db := open(t, dir)
	exec := func(ctx context.Context, statement string, args ...any) error {
		return db.Update(ctx, func(ctx context.Context, tx *sqlite.Tx) error {
			_, err := tx.Exec(ctx, statement, args...)
			return err
		})
	}
	return eventlogtest.Database{
		Database: topics.Of(db),
		Exec:     func(ctx context.Context, statement string) error { return exec(ctx, statement) },
		Count:    func(ctx context.Context, query string) (int64, error) { return count(ctx, db, query) },
		Begin: func(ctx context.Context) (func() error, error) {
			tx, err := db.Begin(ctx)
			if err != nil {
				return nil, err
			}
			return tx.Commit, nil
		},
		Insert: func(ctx context.Context, topic string, r eventlog.Record) error {
			return exec(ctx, `INSERT INTO records (topic, tenant_id, stream, version, type, data, metadata, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, 0)`,
				topic, r.TenantID, r.Stream, r.Version, r.Type, r.Data, string(r.Metadata))
		},
		Another: func() eventlogtest.Database { return database(t, dir) },
		Ended:   sql.ErrTxDone,
	}
}

func count(ctx context.Context, db *sqlite.DB, query string) (n int64, err error) {
	rows, err := db.Query(ctx, query)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			return 0, err
		}
	}
	return n, rows.Err()
}

// TestHandsOverWithoutTheWriter would stand still if reading wanted the writer, with something to read or with nothing.
func TestHandsOverWithoutTheWriter(t *testing.T) {
	w := eventlogtest.NewWorld(t.Context(), t, newDatabase(t))
	defer w.Close()
	w.Publish("a")
	commit, err := w.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = commit() }() // so that a failure here can close the database
	_, messages := w.Subscribe(eventlog.Options{})
	msg := w.Receive(messages, "a")
	if err := commit(); err != nil {
		t.Fatal(err)
	}
	msg.Ack()
	w.WaitForOffset(1)
}

// TestCrash opens an image of the files taken in the middle of a handler.
func TestCrash(t *testing.T) {
	before, after := t.TempDir(), t.TempDir()
	w := eventlogtest.NewWorld(t.Context(), t, database(t, before))
	defer w.Close()
	w.Publish("a", "b", "c")
	_, messages := w.Subscribe(eventlog.Options{})
	msg := w.Receive(messages, "a")
	w.Affect(msg)
	msg.Ack()
	w.Affect(w.Receive(messages, "b"))

	for _, name := range []string{"log.db", "log.db-wal"} {
		image, err := os.ReadFile(filepath.Join(before, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(after, name), image, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w = eventlogtest.AnotherWorld(t.Context(), t, database(t, after))
	defer w.Close()
	if effects, offset := w.Effects(), w.Offset(); effects != 1 || offset != 1 {
		t.Errorf("after the crash there are %d effects and offset %d, want 1 and 1", effects, offset)
	}
	_, messages = w.Subscribe(eventlog.Options{})
	w.Receive(messages, "b").Ack()
	w.Receive(messages, "c").Ack()
	w.WaitForOffset(3)
}
