package sqlite

import (
	"context"
	"encoding/binary"
	"os"
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

// checkpoints is what is known of the log. Who holds the writer alone uses it, but for wake.
type checkpoints struct {
	pages int64    // that the log may have
	had   int64    // pages, at the last commit
	due   int64    // pages, at which it is moved next
	index *os.File // of the log; the first commit opens it, and it stays open
	wake  chan struct{}
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
	if n < c.had { // it has begun anew
		c.due = c.pages
	}
	c.had = n
	if n >= c.due {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// moveLog is for as long as the database is open.
func (db *DB) moveLog(ctx context.Context) {
	c := &db.checkpoints
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for range passes { // what fails is tried again below
			_, _ = db.pool.ExecContext(ctx, moveWhatNobodyReads)
		}
		select {
		case <-ctx.Done():
			return
		case w := <-db.write:
			// The next commit begins the log anew. If it does not, since somebody reads there or the disk failed, it has to grow until all this
			// is tried again.
			_, _ = w.conn.ExecContext(context.Background(), moveWhatNobodyReads)
			c.due = max(c.due, c.had) + c.pages/4
			select {
			case <-c.wake: // that of who committed meanwhile
			default:
			}
			db.write <- w
		}
	}
}

// moveWhatNobodyReads waits for nobody.
const moveWhatNobodyReads = `PRAGMA wal_checkpoint(PASSIVE)`
