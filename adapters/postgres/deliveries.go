package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// deliveryColumns are the columns that open and closed deliveries share, in the order of deliveryRow.
const deliveryColumns = `tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version,
	body_number, warnings, status, version, attempts, failures, abandonments, created_at, updated_at`

// movingColumns go along when a delivery moves between the two tables.
const movingColumns = deliveryColumns + `, accepted_at, traceparent`

// queueColumns are the further columns of an open delivery.
const queueColumns = `due_at, accepted_at, traceparent, lease, leased_at`

// Each statement moves a whole batch. Every row is fenced by its lease and version: a delivery that was lost to somebody else is left
// alone, and its place is not returned.
const (
	savedRows = `unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::int[], $9::int[], $10::int[], $11::bigint[], $12::bigint[], $13::int[])
  AS s (tenant_id, subscription_id, delivery_id, expected, lease, status, version, attempts, failures, abandonments, updated_at, due, place)`

	// sameDelivery includes the subscription so that, for closed deliveries, the index with it serves as well as the key. Without it a planner
	// that believes the table empty reads all of a tenant's rows, since to it that costs no more. For the same reason it might read a
	// whole index in order and compare each of its rows with every one sought; ANY of an array rules that out, since no order helps
	// to find a member of an array.
	sameDelivery = `o.tenant_id = ANY(ARRAY[s.tenant_id]) AND o.subscription_id = s.subscription_id AND o.delivery_id = s.delivery_id`

	fencedOpen = sameDelivery + ` AND o.version = s.expected AND coalesce(o.lease, '') = s.lease`

	moveOpen = `UPDATE open_deliveries o SET status = s.status, version = s.version, attempts = s.attempts, failures = s.failures,
    abandonments = s.abandonments, updated_at = s.updated_at, due_at = nullif(s.due, 0), waiting = s.due > s.updated_at, lease = NULL, leased_at = NULL
FROM ` + savedRows + ` WHERE ` + fencedOpen + ` RETURNING s.place`

	closeOpen = `WITH moved AS (
    DELETE FROM open_deliveries o USING ` + savedRows + ` WHERE ` + fencedOpen + `
    RETURNING ` + movedColumns + `
), closed AS (
    INSERT INTO closed_deliveries (` + movingColumns + `, week)
    SELECT ` + movingColumns + `, ` + weekClosed + ` FROM moved
) SELECT place FROM moved`

	reopenClosed = `WITH moved AS (
    DELETE FROM closed_deliveries o USING ` + savedRows + `
    WHERE ` + sameDelivery + ` AND o.version = s.expected
    RETURNING ` + movedColumns + `, s.due
), opened AS (
    INSERT INTO open_deliveries (` + movingColumns + `, due_at, waiting)
    SELECT ` + movingColumns + `, nullif(due, 0), due > updated_at FROM moved
) SELECT place FROM moved`

	// movedColumns are deliveryColumns: from the old row what never changes, the rest from the new state.
	movedColumns = `o.tenant_id, o.delivery_id, o.event_id, o.event_type, o.subscription_id, o.subscription_version, o.body_number, o.warnings,
    s.status, s.version, s.attempts, s.failures, s.abandonments, o.created_at, s.updated_at, o.accepted_at, o.traceparent, s.place`
)

// savedBatch gathers what one statement saves, column by column.
type savedBatch struct {
	tenants, subscriptions, ids             []string
	leases, statuses                        []string
	expected, versions, updated, due        []int64
	attempts, failures, abandonments, place []int32
}

func (b *savedBatch) add(place int, d dispatch.Saved) {
	b.tenants, b.subscriptions = append(b.tenants, string(d.Before.Tenant)), append(b.subscriptions, d.Before.SubscriptionID)
	b.ids, b.leases = append(b.ids, d.Before.ID), append(b.leases, d.Lease)
	b.expected, b.place = append(b.expected, d.Before.Version), append(b.place, int32(place))
	b.statuses, b.versions = append(b.statuses, string(d.After.Status)), append(b.versions, d.After.Version)
	b.attempts, b.failures = append(b.attempts, int32(d.After.Attempts)), append(b.failures, int32(d.After.Failures))
	b.abandonments = append(b.abandonments, int32(d.After.Abandonments))
	b.updated, b.due = append(b.updated, d.After.UpdatedAt.UnixMicro()), append(b.due, microsOrNone(d.After.DueAt))
}

func (b *savedBatch) queue(to *pgx.Batch, sql string, done []bool) {
	if len(b.ids) == 0 {
		return
	}
	var place int32
	to.Queue(sql, b.tenants, b.subscriptions, b.ids, b.expected, b.leases, b.statuses, b.versions, b.attempts, b.failures, b.abandonments, b.updated, b.due, b.place).
		Query(rowByRow(func(rows pgx.Rows) error {
			if err := rows.Scan(&place); err != nil {
				return err
			}
			done[place] = true
			return nil
		}))
}

// Save writes changes and the state they lead to; see dispatch.Store.
func (s *Store) Save(ctx context.Context, saved []dispatch.Saved) (stale []int, err error) {
	if len(saved) == 0 {
		return nil, nil
	}
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		stale = nil
		done := make([]bool, len(saved))
		if err := tx.write(ctx, saveBatch(saved, done)); err != nil {
			return err
		}
		tx.WhenEnded(func(bool) { s.db.died(len(saved) - len(stale)) })
		for place, d := range saved {
			if !done[place] {
				stale = append(stale, place)
				continue
			}
			if d.After.Status.IsClaimable() {
				tx.QueueChanged()
			}
			if err := tx.appendDelivery(ctx, d.After, d.Before.Version, d.Changes, d.TraceParent); err != nil {
				return err
			}
		}
		return nil
	})
	return stale, err
}

func saveBatch(saved []dispatch.Saved, done []bool) *pgx.Batch {
	var moved, closed, reopened savedBatch
	for i, d := range saved {
		switch {
		case d.After.Status.IsTerminal():
			closed.add(i, d)
		case d.Before.Status.IsTerminal():
			reopened.add(i, d)
		default:
			moved.add(i, d)
		}
	}
	b := &pgx.Batch{}
	closed.queue(b, closeOpen, done)
	moved.queue(b, moveOpen, done)
	reopened.queue(b, reopenClosed, done)
	return b
}

// appendDelivery appends the changes that follow a version of the delivery's stream.
func (tx *Tx) appendDelivery(ctx context.Context, after delivery.Delivery, version int64, changes []delivery.Change, traceParent string) error {
	list, err := records.OfDelivery(after, version, changes, traceParent)
	if err != nil {
		return err
	}
	return tx.appendPacked(ctx, list...)
}
