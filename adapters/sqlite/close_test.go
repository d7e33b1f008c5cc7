package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ordinavo/webhooks/adapters/sqlite"
)

// Whoever copies the file of a service that was stopped has all of it, and a backup that takes its place finds no log of the other.
func TestAClosedDatabaseIsOneFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	err = db.Update(t.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO incarnations (incarnation, started_at, heartbeat_at) VALUES (?, 1, 1)`, "inc_1")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, beside := range []string{"-wal", "-shm"} {
		if info, err := os.Stat(path + beside); err == nil {
			t.Errorf("%s is left, with %d bytes", beside, info.Size())
		}
	}
}
