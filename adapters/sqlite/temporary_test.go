package sqlite

import (
	"path/filepath"
	"testing"
)

// TestWhatIsSortedIsBesideTheDatabase: there may be no other folder that can be written. Not parallel, since the process has one for all files.
func TestWhatIsSortedIsBesideTheDatabase(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "who's")
	db, err := Open(t.Context(), filepath.Join(folder, "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if got, err := one(t.Context(), db, value[string], `PRAGMA temp_store_directory`); err != nil || got != folder {
		t.Errorf("it is in %q, %v", got, err)
	}
}
