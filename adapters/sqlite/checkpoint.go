package sqlite

import (
	"context"
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

// checkpoints moves the log whenever as many commits were made as are thought to fill it.
type checkpoints struct {
	pages   int64        // that the log may have
	commits atomic.Int64 // since the log began
	due     atomic.Int64
	wake    chan struct{}
	running sync.WaitGroup
}

// committed counts a commit.
func (c *checkpoints) committed() {
	if c.commits.Add(1) < c.due.Load() {
		return
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// moveLog is for as long as the database is open. What fails is tried again after as many commits, and by SQLite itself.
func (db *DB) moveLog() {
	for {
		select {
		case <-db.closed:
			return
		case <-db.checkpoints.wake:
		}
		if db.checkpoints.commits.Load() < db.checkpoints.due.Load() {
			continue
		}
		for range passes {
			var m moved
			_ = m.scan(db.pool.QueryRowContext(context.Background(), checkpoint))
		}
		select {
		case <-db.closed:
			return
		case w := <-db.write:
			var m moved
			_ = m.scan(w.conn.QueryRowContext(context.Background(), checkpoint))
			db.checkpoints.ended(m)
			db.write <- w
		}
	}
}

// checkpoint waits for nobody, and leaves in the log what somebody still reads there.
const checkpoint = `PRAGMA wal_checkpoint(PASSIVE)`

// moved is what a checkpoint says.
type moved struct{ busy, pages, moved int64 }

func (m *moved) scan(row interface{ Scan(...any) error }) error {
	return row.Scan(&m.busy, &m.pages, &m.moved)
}

// ended learns how many commits fill the log. The writer is held.
func (c *checkpoints) ended(m moved) {
	commits := c.commits.Load()
	if m.pages <= 0 || m.moved < m.pages {
		c.due.Store(commits + max(1, commits/4))
		return
	}
	c.due.Store(max(1, commits*c.pages/m.pages))
	c.commits.Store(0)
}
