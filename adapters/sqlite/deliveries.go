package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// deliveryColumns are those of open and closed deliveries alike, in the order of scanDelivery and openArgs.
const deliveryColumns = `tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version,
	body_number, warnings, status, version, attempts, failures, abandonments, created_at, updated_at`

// queueColumns are the further columns of an open delivery.
const queueColumns = `due_at, accepted_at, traceparent, lease, leased_at`

// queued is a row of open_deliveries.
type queued struct {
	delivery.Delivery
	AcceptedAt  time.Time
	TraceParent string
	Lease       string
	LeasedAt    time.Time
}

func scanQueued(r *sql.Rows) (queued, error) { return scanQueuedAnd(r) }

// scanQueuedAnd scans deliveryColumns and queueColumns, and into more the columns that the query selects after them.
func scanQueuedAnd(r *sql.Rows, more ...any) (q queued, err error) {
	var due, accepted, leased sql.NullInt64
	var lease sql.NullString
	err = scanDelivery(r, &q.Delivery, append([]any{&due, &accepted, &q.TraceParent, &lease, &leased}, more...)...)
	q.DueAt, q.AcceptedAt, q.Lease, q.LeasedAt = moment(due), moment(accepted), lease.String, moment(leased)
	return q, err
}

// scanDelivery scans deliveryColumns, and into more the columns that the query selects after them.
func scanDelivery(r *sql.Rows, d *delivery.Delivery, more ...any) error {
	var warnings []byte
	var created, updated sql.NullInt64
	err := r.Scan(append([]any{&d.Tenant, &d.ID, &d.EventID, &d.EventType, &d.SubscriptionID, &d.SubscriptionVersion,
		&d.BodyNumber, &warnings, &d.Status, &d.Version, &d.Attempts, &d.Failures, &d.Abandonments, &created, &updated}, more...)...)
	if err != nil {
		return err
	}
	d.CreatedAt, d.UpdatedAt = moment(created), moment(updated)
	d.Warnings = records.Warnings(warnings)
	return nil
}

var insertOpen = insertInto("open_deliveries", deliveryColumns+", "+queueColumns+", waiting")

// openArgs appends the values of insertOpen.
func openArgs(args []any, q queued) ([]any, error) {
	warnings, err := list(q.Warnings)
	if err != nil {
		return nil, err
	}
	var lease any
	if q.Lease != "" {
		lease = q.Lease
	}
	return append(args, q.Tenant, q.ID, q.EventID, q.EventType, q.SubscriptionID, q.SubscriptionVersion,
		q.BodyNumber, warnings, q.Status, q.Version, q.Attempts, q.Failures, q.Abandonments, stamp(q.CreatedAt), stamp(q.UpdatedAt),
		stamp(q.DueAt), stamp(q.AcceptedAt), q.TraceParent, lease, stamp(q.LeasedAt), waits(q.Delivery)), nil
}

// waits reports whether the delivery is due later, by the clock of the process that updated it.
func waits(d delivery.Delivery) bool { return d.DueAt.After(d.UpdatedAt) }

// The lease and the version fence each write: a process that has lost the delivery changes nothing.
const (
	moveOpen = `UPDATE open_deliveries SET status = ?, version = ?, attempts = ?, failures = ?, abandonments = ?,
	updated_at = ?, due_at = ?, waiting = ?, lease = NULL, leased_at = NULL
	WHERE tenant_id = ? AND delivery_id = ? AND version = ? AND coalesce(lease, '') = ?`
	// insertClosed writes an open delivery as closed; its columns that no change touches stay as they were.
	insertClosed = `INSERT INTO closed_deliveries (` + deliveryColumns + `, accepted_at, traceparent)
	SELECT tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version,
	body_number, warnings, ?, ?, ?, ?, ?, created_at, ?, accepted_at, traceparent FROM open_deliveries
	WHERE tenant_id = ? AND delivery_id = ? AND version = ? AND coalesce(lease, '') = ?`
	deleteOpen = `DELETE FROM open_deliveries WHERE tenant_id = ? AND delivery_id = ?`
	takeClosed = `DELETE FROM closed_deliveries
	WHERE tenant_id = ? AND delivery_id = ? AND version = ? RETURNING accepted_at, traceparent`
)

// Save writes changes and the state they lead to; see dispatch.Store.
func (s *Store) Save(ctx context.Context, saved []dispatch.Saved) (stale []int, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		stale = nil
		var changes []records.Record
		for place, d := range saved {
			done, err := tx.save(ctx, d)
			if err == nil && done {
				var of []records.Record
				of, err = records.OfDelivery(d.After, d.Before.Version, d.Changes, d.TraceParent)
				changes = append(changes, of...)
			}
			if err != nil {
				return fmt.Errorf("save delivery %s: %w", d.Before.ID, err)
			}
			if !done {
				stale = append(stale, place)
			}
		}
		return tx.append(ctx, changes...)
	})
	return stale, err
}

func (tx *Tx) save(ctx context.Context, d dispatch.Saved) (done bool, err error) {
	switch {
	case d.After.Status.IsTerminal():
		done, err = tx.closeDelivery(ctx, d)
	case d.Before.Status.IsTerminal():
		done, err = tx.reopen(ctx, d)
	default:
		var n int64
		n, err = tx.Exec(ctx, moveOpen, d.After.Status, d.After.Version, d.After.Attempts, d.After.Failures, d.After.Abandonments,
			stamp(d.After.UpdatedAt), stamp(d.After.DueAt), waits(d.After), d.Before.Tenant, d.Before.ID, d.Before.Version, d.Lease)
		done = n == 1
	}
	if done && d.After.Status.IsClaimable() {
		tx.QueueChanged()
	}
	return done, err
}

func (tx *Tx) closeDelivery(ctx context.Context, d dispatch.Saved) (bool, error) {
	n, err := tx.Exec(ctx, insertClosed, d.After.Status, d.After.Version, d.After.Attempts, d.After.Failures, d.After.Abandonments,
		stamp(d.After.UpdatedAt), d.Before.Tenant, d.Before.ID, d.Before.Version, d.Lease)
	if err != nil || n == 0 {
		return false, err
	}
	_, err = tx.Exec(ctx, deleteOpen, d.Before.Tenant, d.Before.ID)
	return true, err
}

func (tx *Tx) reopen(ctx context.Context, d dispatch.Saved) (bool, error) {
	taken, err := optional(ctx, tx.db, func(r *sql.Rows) (q queued, err error) {
		var accepted sql.NullInt64
		err = r.Scan(&accepted, &q.TraceParent)
		q.AcceptedAt = moment(accepted)
		return q, err
	}, takeClosed, d.Before.Tenant, d.Before.ID, d.Before.Version)
	if err != nil || taken == nil {
		return false, err
	}
	taken.Delivery = d.After
	args, err := openArgs(nil, *taken)
	if err != nil {
		return false, err
	}
	return true, tx.insert(ctx, insertOpen, args)
}
