package sqlite

import (
	"context"
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"
)

// What was committed is moved from SQLite's write-ahead log into the file beside who writes, and not by the commit that makes the log long, as
// SQLite does by itself: all others would wait for some milliseconds, once a second under load. The last of it is moved while nobody
// writes, since the log begins anew only where all of it was moved.

const (
	// logPages is how long the log may be: many tenants' pages are written again by commit after commit, and moved once.
	logPages = 8000
	// logPagesAtMost is when a commit moves them nevertheless.
	logPagesAtMost = 4 * logPages
	// passes are made beside who writes: the first moves nearly all, the second what was committed meanwhile.
	passes = 2
)

// checkpoints moves the log whenever it is long.
type checkpoints struct {
	pages   int64 // that the log may have
	due     atomic.Int64
	index   *os.File // of the log; the first commit opens it, and it stays open
	wake    chan struct{}
	running sync.WaitGroup
}

// atFrames is where the log's index says how many pages the log has, in the machine's byte order (SQLite's WAL-mode file format,
// section 2.1.1).
const atFrames = 16

// committed looks how long the log is by now. The writer is held.
func (c *checkpoints) committed(path string) {
	if c.index == nil {
		c.index, _ = os.Open(path + "-shm") // without it SQLite moves the log by itself
	}
	var frames [4]byte
	if _, err := c.index.ReadAt(frames[:], atFrames); err != nil {
		return
	}
	n := int64(binary.NativeEndian.Uint32(frames[:]))
	if n < c.pages {
		c.due.Store(c.pages)
	}
	if n >= c.due.Load() {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// moveLog is for as long as the database is open. What fails is tried again later, and by SQLite itself.
func (db *DB) moveLog(ctx context.Context) {
	for {
		select {
		case <-db.closed:
			return
		case <-db.checkpoints.wake:
		}
		for range passes {
			_, _ = checkpoint(db.pool.QueryRowContext(ctx, moveWhatNobodyReads))
		}
		select {
		case <-db.closed:
			return
		case w := <-db.write:
			// The next commit begins the log anew, unless somebody reads there.
			pages, _ := checkpoint(w.conn.QueryRowContext(context.Background(), moveWhatNobodyReads))
			db.checkpoints.due.Store(pages + db.checkpoints.pages/4)
			db.write <- w
		}
	}
}

// moveWhatNobodyReads waits for nobody.
const moveWhatNobodyReads = `PRAGMA wal_checkpoint(PASSIVE)`

// checkpoint says how many pages the log has.
func checkpoint(row interface{ Scan(...any) error }) (pages int64, err error) {
	var busy, moved int64
	err = row.Scan(&busy, &pages, &moved)
	return pages, err
}
