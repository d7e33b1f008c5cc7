package postgres

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// cancelEvery is how often a migration that waits looks for those that wait for it in turn: well before PostgreSQL looks for deadlocks, by
// default a second into each wait.
const cancelEvery = 100 * time.Millisecond

// cancelWaiting cancels the statements of those whom the session of $1 waits for, directly or through others, and who wait for it
// themselves.
const cancelWaiting = `
WITH RECURSIVE ahead AS (
    SELECT unnest(pg_blocking_pids($1)) AS pid
    UNION SELECT unnest(pg_blocking_pids(pid)) FROM ahead
)
SELECT pg_cancel_backend(pid) FROM ahead WHERE pid <> $1 AND $1 = ANY(pg_blocking_pids(pid))`

// givePrecedence lets a migration's session win its deadlocks until the function that it returns has been called. Left to PostgreSQL, the
// one that has just begun to wait loses. That is mostly the migration, which holds one table more with each wait: at load it would take all
// its tables only by luck. Those that lose in its place have done little yet, and do it again; see repeatable.
func (db *DB) givePrecedence(ctx context.Context, pid uint32) (end func()) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		for pause(ctx, cancelEvery) {
			err := db.query(ctx, func(pgx.Rows) error { return nil }, cancelWaiting, pid)
			if err != nil && ctx.Err() == nil {
				db.config.Logger.LogAttrs(ctx, slog.LevelWarn, "the migration cannot go first", slog.Any("error", err))
				return
			}
		}
	})
	return func() { cancel(); watching.Wait() }
}
