package sqlite_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/domain/problem"
)

// TestAFileThatWasMovedTakesNothing: what were written to it would be gone with the process. Put back, it goes on.
func TestAFileThatWasMovedTakesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ordinavo.db")
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(db.Migrate())
	store := sqlite.NewStore(db, nil)
	takes := func(want bool) {
		t.Helper()
		for what, err := range map[string]error{
			"a write": db.Update(t.Context(), func(context.Context, *sqlite.Tx) error { return nil }), "readyz": store.Ping(t.Context()),
		} {
			if want && err != nil || !want && !problem.Is(err, problem.Unavailable) {
				t.Errorf("%s gave %v", what, err)
			}
		}
	}
	takes(true)
	ok(os.Rename(path, path+".away"))
	takes(false)
	ok(os.WriteFile(path, nil, 0o600)) // another
	takes(false)
	ok(os.Rename(path+".away", path))
	takes(true)
}
