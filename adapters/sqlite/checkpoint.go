package sqlite

import (
	"context"
	"encoding/binary"
	"os"
)

// A goroutine of its own moves committed pages from SQLite's write-ahead log into the file while others write. By itself, SQLite
// does it in the commit that makes the log too long: all others would then wait some milliseconds, once a second under load. The
// last pages are moved while nobody writes, since the log begins anew only once all of it has been moved.

const (
	// logPages is how long the log may be: commit after commit writes the same pages of many tenants, and they are moved once.
	logPages = 8000
	// logPagesAtMost is the length at which a commit moves them after all.
	logPagesAtMost = 4 * logPages
	// passes are made while others write: the first moves nearly all pages, the second those committed meanwhile.
	passes = 2
)

// checkpoints is what is known about the log. Only the holder of the writer uses it, except for wake.
type checkpoints struct {
	pages int64    // how many the log may have
	had   int64    // how many it had at the last commit
	due   int64    // at how many it is moved next
	index *os.File // of the log; the first commit opens it and it stays open
	wake  chan struct{}
}

// atFrames is the offset in the log's index of the number of pages in the log, in the machine's byte order (SQLite's WAL-mode
// file format, section 2.1.1).
const atFrames = 16

// committed checks how long the log is now. The caller holds the writer.
func (c *checkpoints) committed(path string) {
	if c.index == nil {
		c.index, _ = os.Open(path + "-shm") // without it, SQLite moves the log by itself
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

// moveLog runs for as long as the database is open.
func (db *DB) moveLog(ctx context.Context) {
	c := &db.checkpoints
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		for range passes { // a failure is tried again below
			_, _ = db.writing.ExecContext(ctx, moveWhatNobodyReads)
		}
		select {
		case <-ctx.Done():
			return
		case w := <-db.write:
			// The next commit begins the log anew. If it cannot, because somebody reads from the log or the disk failed, the log
			// grows until all this is tried again.
			_, _ = w.conn.ExecContext(context.Background(), moveWhatNobodyReads)
			c.due = max(c.due, c.had) + c.pages/4
			select {
			case <-c.wake: // from a commit made meanwhile
			default:
			}
			db.write <- w
		}
	}
}

// moveWhatNobodyReads does not wait for readers or writers.
const moveWhatNobodyReads = `PRAGMA wal_checkpoint(PASSIVE)`
