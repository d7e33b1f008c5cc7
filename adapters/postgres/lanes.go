package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// laneClass names the locks that keep subscriptions as they are ("ORDL").
//
// Who schedules deliveries by a subscription's state must not commit them after the subscription was paused or deleted and
// its sweep is over: nobody would move them then. So he shares the lock until his commit, and who changes a
// subscription has it alone. No row is written for it, however many lanes a batch has.
const laneClass = 0x4F52444C

// queueKeepLanes keeps the lanes' subscriptions as they are until the transaction ends; outside one it does nothing.
func queueKeepLanes(ctx context.Context, b *pgx.Batch, lanes []dispatch.Lane) {
	if _, inTx := ctx.Value(txKey{}).(*Tx); inTx && len(lanes) > 0 {
		b.Queue(`SELECT pg_advisory_xact_lock_shared($1::int, $2::int)`, laneClass, allTenants)
	}
}

// moveLanes waits for those who schedule by subscriptions.
func (tx *Tx) moveLanes(ctx context.Context) error {
	_, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, $2::int)`, laneClass, allTenants)
	return err
}
