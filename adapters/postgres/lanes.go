package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// laneClass names the locks that keep subscriptions as they are, one for each shard ("ORDL").
//
// Who schedules deliveries by a subscription's state must not commit them after the subscription was paused or deleted and
// its sweep is over: nobody would move them then. So he shares the lock until his commit, and who changes a
// subscription has it alone. No row is written for it, however many lanes a batch has.
const laneClass = 0x4F52444C

// queueKeepLanes keeps the lanes' subscriptions as they are until the transaction ends; outside one it does nothing.
func (db *DB) queueKeepLanes(ctx context.Context, b *pgx.Batch, lanes []dispatch.Lane) error {
	if _, inTx := ctx.Value(txKey{}).(*Tx); !inTx {
		return nil
	}
	shards, err := db.Shards(ctx)
	if err != nil {
		return err
	}
	var locks []int32
	for _, lane := range lanes {
		locks = append(locks, int32(shardOf(lane.Tenant, shards)))
	}
	slices.Sort(locks)
	b.Queue(`SELECT pg_advisory_xact_lock_shared($1, l) FROM unnest($2::int[]) AS l`, laneClass, slices.Compact(locks))
	return nil
}

// moveLane waits for those who schedule by the subscriptions of the tenant's shard.
func (tx *Tx) moveLane(ctx context.Context, owner tenant.ID) error {
	shards, err := tx.db.Shards(ctx)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `SELECT pg_advisory_xact_lock($1::int, $2::int)`, laneClass, shardOf(owner, shards))
	return err
}
