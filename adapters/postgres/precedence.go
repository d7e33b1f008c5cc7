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
// themselves. It is for sessions of the name $2 alone: nobody else runs again what was canceled.
const cancelWaiting = `
WITH RECURSIVE ahead AS (
    SELECT unnest(pg_blocking_pids($1)) AS pid
    UNION SELECT unnest(pg_blocking_pids(pid)) FROM ahead
)
SELECT pg_cancel_backend(pid) FROM ahead WHERE pid <> $1 AND $1 = ANY(pg_blocking_pids(pid))
AND EXISTS (SELECT 1 FROM pg_stat_activity a WHERE a.pid = ahead.pid AND a.application_name = $2)`

// givePrecedence lets a migration's session win its deadlocks until the function that it returns has been called. Left to PostgreSQL, the
// one that has just begun to wait loses. That is mostly the migration, which holds one table more with each wait: at load it would take all
// its tables only by luck. Transactions and single reads that lose in its place are repeated; see again.
func (db *DB) givePrecedence(direct *pgx.ConnConfig, pid uint32) (end func()) {
	ctx, cancel := context.WithCancel(db.closing)
	var watching sync.WaitGroup
	watching.Go(func() {
		if !pause(ctx, cancelEvery) {
			return
		}
		for told := false; ctx.Err() == nil; pause(ctx, time.Second) {
			if err := db.watch(ctx, direct, pid); err != nil && ctx.Err() == nil && !told {
				db.config.Logger.LogAttrs(ctx, slog.LevelWarn, "the migration cannot go first", slog.Any("error", err))
				told = true
			}
		}
	})
	return func() { cancel(); watching.Wait() }
}

// watch looks until ctx ends. Its connection is its own: those of a PgBouncer may all be with those who wait.
func (db *DB) watch(ctx context.Context, direct *pgx.ConnConfig, pid uint32) error {
	conn, err := pgx.ConnectConfig(ctx, direct)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	for {
		if _, err := conn.Exec(ctx, cancelWaiting, pid, db.pool.Config().ConnConfig.RuntimeParams[applicationName]); err != nil {
			return err
		}
		if !pause(ctx, cancelEvery) {
			return nil
		}
	}
}
