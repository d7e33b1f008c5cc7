package sqlite_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/domain/problem"
)

// A full disk is trouble that passes: the caller is told to come again, nothing of the transaction stays, and with room
// again the same process writes on.
func TestAFullDiskIsToldAndHeals(t *testing.T) {
	db := openDB(t)
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	write := func(id string, size int) error {
		return db.Update(t.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
			if _, err := tx.Exec(ctx, `INSERT INTO tenants (tenant_id, name, created_at) VALUES (?, 'small', 1)`, id); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `INSERT INTO tenants (tenant_id, name, created_at) VALUES (?, ?, 1)`, id+"-large", strings.Repeat("x", size))
			if err != nil { // whoever goes on all the same must not write alone
				_, _ = tx.Exec(ctx, `INSERT INTO tenants (tenant_id, name, created_at) VALUES (?, 'alone', 1)`, id+"-alone")
			}
			return err
		})
	}
	room := func(pages string) {
		t.Helper()
		if err := db.Update(t.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
			rows, err := tx.Query(ctx, `PRAGMA max_page_count = `+pages)
			if err == nil {
				err = rows.Close()
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	room("1") // SQLite takes as many as there are
	if err := write("t1", 1<<20); !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "no room on its disk") {
		t.Errorf("a full disk is %v", err)
	}
	room("1000000")
	if err := write("t2", 1<<20); err != nil {
		t.Errorf("with room again: %v", err)
	}
	for id, want := range map[string]bool{"t1": false, "t1-large": false, "t1-alone": false, "t2": true, "t2-large": true} {
		rows, err := db.Query(t.Context(), `SELECT 1 FROM tenants WHERE tenant_id = ?`, id)
		if err != nil {
			t.Fatal(err)
		}
		if got := rows.Next(); got != want {
			t.Errorf("%s is there: %t", id, got)
		}
		_ = rows.Close()
	}
}
