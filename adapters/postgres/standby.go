package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// waitsForStandby is whether the transaction is committed but for a synchronous standby, which has yet to say that it has it.
const waitsForStandby = `SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND backend_xid = $1::text::xid8::xid)`

// The fates of a commit whose answer is waited for.
const (
	undecided = iota
	answered
	left // to itself, and to the server: its user was told that nobody knows
)

// patiently gives the server LongestCommit to answer a commit, and as much more as it waits for a standby, to which leave leaves it then. Who
// ends such a connection has the driver cancel that wait, and the transaction counts as committed at once: its events would be answered with
// 202, or as duplicates, and be gone when the standby takes over. Once the process is told to stop it is given up as any other, but after its
// user was told that nobody knows.
func (tx *Tx) patiently(leave func()) (ctx context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	late := time.AfterFunc(tx.db.config.LongestCommit, func() {
		silent := time.AfterFunc(resolveWithin, leave) // a server that hangs does not say even that
		defer silent.Stop()
		for going := tx.db.closing.Err() == nil; going && tx.waitsForStandby(ctx); {
			leave()
			going = pause(tx.db.starting, tx.db.config.LongestCommit)
		}
		cancel(context.DeadlineExceeded)
	})
	return ctx, func() { late.Stop(); cancel(context.Canceled) }
}

// waitsForStandby asks by a connection of its own: those of the pool may all be with those who wait. So may all that the server has, or that it
// gives this user; until it has one, they are believed to wait.
func (tx *Tx) waitsForStandby(ctx context.Context) (waits bool) {
	xid := tx.inDoubt.Load()
	if xid == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, acquireTimeout)
	defer cancel()
	conn, err := tx.db.connectDirect(ctx)
	if err != nil {
		return code(err) == codeTooMany
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return conn.QueryRow(ctx, waitsForStandby, pgx.QueryExecModeSimpleProtocol, *xid).Scan(&waits) == nil && waits
}
