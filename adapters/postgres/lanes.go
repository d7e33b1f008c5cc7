package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// laneClass names the locks that keep subscriptions as they are ("ORDL").
//
// A transaction that schedules deliveries by a subscription's state must not commit after the subscription was paused or deleted and its
// sweep is over: nobody would move those deliveries then. So it holds the lock shared until it commits, and one that changes a
// subscription holds it exclusively. No row is written for it, however many lanes a batch has.
const laneClass = 0x4F52444C

// queueKeepLanes keeps the lanes' subscriptions unchanged until the transaction ends; outside one it does nothing.
func queueKeepLanes(ctx context.Context, b *pgx.Batch, lanes []dispatch.Lane) {
	if _, inTx := ctx.Value(txKey{}).(*Tx); inTx && len(lanes) > 0 {
		b.Queue(`SELECT pg_advisory_xact_lock_shared($1::int, $2::int)`, laneClass, allTenants)
	}
}

// moveLanes waits for the transactions that schedule by subscriptions' states.
func (tx *Tx) moveLanes(ctx context.Context) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, $2::int)`, laneClass, allTenants)
	return err
}
