package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
