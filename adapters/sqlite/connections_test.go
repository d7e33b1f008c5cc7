package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/sqlite"
)

// TestAFullFileLeavesNoConnectionsOpen has transactions fail as on a full disk, where SQLite rolls back by itself and the
// writer's connection is replaced.
func TestAFullFileLeavesNoConnectionsOpen(t *testing.T) {
	dir := t.TempDir()
	db, err := sqlite.Open(t.Context(), filepath.Join(dir, "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	write := func(sql string, args ...any) error {
		return db.Update(t.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
			if _, err := tx.Exec(ctx, "CREATE TABLE IF NOT EXISTS t (b BLOB)"); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, sql, args...)
			return err
		})
	}
	if err := write("INSERT INTO t VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	open := func() (n int) {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Skip("this system does not say which files are open")
		}
		for _, fd := range fds {
			if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, dir) {
				n++
			}
		}
		return n
	}
	before := open()
	for range 50 {
		if err := write("PRAGMA max_page_count = 10"); err != nil {
			t.Fatal(err)
		}
		if err := write("INSERT INTO t VALUES (zeroblob(1000000))"); err == nil {
			t.Fatal("the file is not full")
		}
	}
	if after := open(); after > before+10 {
		t.Errorf("%d files were open, now %d are", before, after)
	}
}

// TestReadersHoldLittleMemory: there are several.
func TestReadersHoldLittleMemory(t *testing.T) {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	is := func(who string, query func(context.Context, string, ...any) (*sql.Rows, error), pragma string, want int) {
		t.Helper()
		rows, err := query(t.Context(), "PRAGMA "+pragma)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = rows.Close() }()
		got := 1
		if !rows.Next() || rows.Scan(&got) != nil || got != want {
			t.Errorf("%s has %s = %d, want %d", who, pragma, got, want)
		}
	}
	const inFiles, inMemory = 0, 2
	is("a reader", db.Query, "cache_size", -2048)
	is("a reader", db.Query, "temp_store", inFiles)
	if err := db.Update(t.Context(), func(_ context.Context, tx *sqlite.Tx) error {
		is("the writer", tx.Query, "cache_size", -16384)
		is("the writer", tx.Query, "temp_store", inMemory)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestWhoWaitsForTheWriterIsTold of what every write of a file waits for.
func TestWhoWaitsForTheWriterIsTold(t *testing.T) {
	db := openDB(t)
	holds, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holds.Rollback() }() // or closing the file would wait for it
	waits := make(chan error, 1)
	go func() {
		tx, err := db.Begin(t.Context())
		if err == nil {
			err = tx.Rollback()
		}
		waits <- err
	}()
	for end := time.Now().Add(time.Minute); db.Connections().Waiting != 1; <-time.After(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("told %+v while one waits", db.Connections())
		}
	}
	if err := errors.Join(holds.Rollback(), <-waits); err != nil {
		t.Fatal(err)
	}
	if told := db.Connections(); told.Waiting != 0 || told.Used < 1 || told.Max < told.Used+told.Idle {
		t.Errorf("told %+v while nobody waits", told)
	}
}
