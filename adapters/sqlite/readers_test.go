package sqlite

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// readOnAndOn has every connection of the readers in use until the test ends.
func readOnAndOn(t *testing.T, db *DB) {
	t.Helper()
	for db.readers.Stats().InUse < db.readers.Stats().MaxOpenConnections {
		rows, err := db.Query(t.Context(), `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, (SELECT count(*) FROM sqlite_schema) FROM n`)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = rows.Close() })
		if !rows.Next() {
			t.Fatal(rows.Err())
		}
	}
}

// TestABrokenWriterIsReplacedBesideReaders: whoever holds the writer must not wait for somebody's list to end.
func TestABrokenWriterIsReplacedBesideReaders(t *testing.T) {
	db := openEmpty(t)
	readOnAndOn(t, db)
	wrote := make(chan error, 1)
	go func() {
		wrote <- func() error {
			tx, err := db.Begin(t.Context())
			if err != nil {
				return err
			}
			if _, err := tx.Exec(t.Context(), "ROLLBACK"); err != nil { // as SQLite does by itself when a statement is interrupted
				return err
			}
			if tx.Rollback() == nil {
				t.Error("the writer is not broken")
			}
			return db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
				_, err := tx.Exec(ctx, `INSERT INTO tenants (tenant_id, name, created_at) VALUES ('acme', '', 1)`)
				return err
			})
		}()
	}()
	select {
	case err := <-wrote:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("nobody can write")
	}
}

func TestTheLogIsMovedBesideReaders(t *testing.T) {
	db, commit := logged(t, 10)
	readOnAndOn(t, db)
	commit(20)
	for end := time.Now().Add(30 * time.Second); db.dueLog(t) == 10; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatal("it waits for somebody's list to end")
		}
	}
}

// TestAllConnectionsOfTheFileAreCounted, whoever uses them.
func TestAllConnectionsOfTheFileAreCounted(t *testing.T) {
	db := openEmpty(t)
	const writing = 1
	readers := db.readers.Stats().MaxOpenConnections
	if told := db.Connections(); told.Used != writing || told.Idle < 1 || told.Max <= readers+writing {
		t.Errorf("told %+v beside %d readers that read nothing", told, readers)
	}
	readOnAndOn(t, db)
	if told := db.Connections(); told.Used != readers+writing || told.Max < told.Used+told.Idle {
		t.Errorf("told %+v while %d read", told, readers)
	}
}
