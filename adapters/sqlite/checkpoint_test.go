package sqlite

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// logged is a database whose log may have so many pages, and a function that commits a few pages n times.
func logged(t *testing.T, pages int64) (db *DB, commit func(n int)) {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "log.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.checkpoints.pages, db.checkpoints.due = pages, pages
	write := func(query string) {
		t.Helper()
		if err := db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
			_, err := tx.Exec(ctx, query)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	write(`CREATE TABLE t (b BLOB)`)
	return db, func(n int) {
		t.Helper()
		for range n {
			write(`INSERT INTO t VALUES (zeroblob(8000))`)
		}
	}
}

// pagesOfLog is how long the log has ever been: its file is written again from its beginning, and does not get shorter.
func (db *DB) pagesOfLog(t *testing.T) int64 {
	t.Helper()
	file, err := os.Stat(db.path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	return file.Size() / 4096
}

// dueLog is at how many pages the log is moved next.
func (db *DB) dueLog(t *testing.T) (due int64) {
	t.Helper()
	if err := db.Update(t.Context(), func(context.Context, *Tx) error {
		due = db.checkpoints.due
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return due
}

func TestTheLogIsMovedBesideTheCommits(t *testing.T) {
	db, commit := logged(t, 100)
	commit(2000)
	if pages := db.pagesOfLog(t); pages > 2000 {
		t.Errorf("the log got %d pages long, and some 100 are allowed", pages)
	}
	if due := db.dueLog(t); due > 200 {
		t.Errorf("the log began anew time and again, and is due at %d pages", due)
	}
}

func TestTheLogBeginsAnewOnceNobodyReadsWhatItHas(t *testing.T) {
	db, commit := logged(t, 100)
	rows, err := db.Query(t.Context(), `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, (SELECT count(*) FROM t) FROM n`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	if !rows.Next() {
		t.Fatal(rows.Err())
	}
	commit(400)
	held := db.pagesOfLog(t)
	if held < 800 {
		t.Errorf("somebody reads what was there before 400 commits, and the log has %d pages", held)
	}
	if due := db.dueLog(t); due <= 100 {
		t.Errorf("the log has %d pages, which somebody reads, and each commit has it looked through: it is due at %d", held, due)
	}
	if err := rows.Close(); err != nil {
		t.Fatal(err)
	}
	commit(2000)
	if pages := db.pagesOfLog(t); pages > held+2000 {
		t.Errorf("the log grew from %d to %d pages although nobody reads it any more", held, pages)
	}
}

// A database that is closed while the log is moved has all in its file.
func TestTheEndWaitsForWhoMovesTheLog(t *testing.T) {
	for range 20 {
		db, commit := logged(t, 10)
		commit(20)
		ended := make(chan error, 1)
		go func() { ended <- db.Close() }()
		select {
		case err := <-ended:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(30 * time.Second):
			t.Fatal("the database does not close")
		}
		if _, err := os.Stat(db.path + "-wal"); err == nil {
			t.Error("the log is there still")
		}
	}
}

// TestALogThatBeginsAnewWithALongCommitIsDueAgain has an index of its own, which says how long the log is.
func TestALogThatBeginsAnewWithALongCommitIsDueAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	c := &checkpoints{pages: 100, due: 200, wake: make(chan struct{}, 1)}
	t.Cleanup(func() { _ = c.index.Close() })
	for _, is := range []struct {
		frames uint32
		moved  bool
	}{{150, false}, {190, false}, {120, true}, {99, false}, {100, true}} {
		index := make([]byte, atFrames, atFrames+4)
		if err := os.WriteFile(path+"-shm", binary.NativeEndian.AppendUint32(index, is.frames), 0o600); err != nil {
			t.Fatal(err)
		}
		c.committed(path)
		moved := len(c.wake) == 1
		if moved != is.moved {
			t.Errorf("with %d pages it is moved: %t, want %t", is.frames, moved, is.moved)
		}
		if moved {
			<-c.wake
		}
	}
}

// TestOneRoundIsForAllWhoAsked has somebody ask while a round waits for the writer, beside a log that is far longer than it may be.
func TestOneRoundIsForAllWhoAsked(t *testing.T) {
	db, _ := logged(t, 100)
	w := <-db.write
	db.checkpoints.had = 1000
	db.checkpoints.wake <- struct{}{}
	db.checkpoints.wake <- struct{}{} // once the first has begun the round
	db.write <- w
	due := func() int64 {
		w := <-db.write
		defer func() { db.write <- w }()
		return db.checkpoints.due
	}
	for began := time.Now(); due() == 100 && time.Since(began) < 10*time.Second; {
		runtime.Gosched()
	}
	for range 50 { // as long as another round would take, and longer
		if _, err := db.writing.ExecContext(t.Context(), moveWhatNobodyReads); err != nil {
			t.Fatal(err)
		}
	}
	if got := due(); got != 1025 {
		t.Errorf("it is due at %d pages, want 1025: one round, from where the log is", got)
	}
}
