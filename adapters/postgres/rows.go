package postgres

import (
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Queue rows are read by the hundred, each into the same variables: allocating those anew was most of what reading a row allocated.

// repeated is a text that rows often have in common with the one before; then it shares its memory. NULL is empty.
type repeated string

// ScanBytes implements pgtype.BytesScanner.
func (t *repeated) ScanBytes(text []byte) error {
	if string(*t) != string(text) {
		*t = repeated(text)
	}
	return nil
}

// noWarnings is how no warnings are stored.
const noWarnings = "null"

// deliveryRow reads deliveryColumns, row after row.
type deliveryRow struct {
	row                                     delivery.Delivery // but for the others
	tenant, eventType, subscription, status repeated
	warnings                                pgtype.DriverBytes
	created, updated                        int64
	places                                  []any
}

// deliveryRows also reads into more what the query selects behind the columns.
func deliveryRows(more ...any) *deliveryRow {
	r := &deliveryRow{}
	d := &r.row
	r.places = append([]any{&r.tenant, &d.ID, &d.EventID, &r.eventType, &r.subscription, &d.SubscriptionVersion, &d.BodyNumber,
		&r.warnings, &r.status, &d.Version, &d.Attempts, &d.Failures, &d.Abandonments, &r.created, &r.updated}, more...)
	return r
}

func (r *deliveryRow) scan(rows pgx.Rows) (delivery.Delivery, error) {
	if err := rows.Scan(r.places...); err != nil {
		return delivery.Delivery{}, err
	}
	d := r.row
	d.Tenant, d.EventType, d.SubscriptionID, d.Status = tenant.ID(r.tenant), event.Type(r.eventType), string(r.subscription), delivery.Status(r.status)
	d.CreatedAt, d.UpdatedAt = moment(&r.created), moment(&r.updated)
	if string(r.warnings) != noWarnings {
		d.Warnings = records.Warnings(r.warnings)
	}
	return d, nil
}

// queued is a row of open_deliveries.
type queued struct {
	delivery.Delivery
	AcceptedAt  time.Time
	TraceParent string
	Lease       string
	LeasedAt    time.Time
}

// queuedRow reads deliveryColumns and queueColumns, row after row.
type queuedRow struct {
	delivery              *deliveryRow
	due, accepted, leased pgtype.Int8
	trace                 string
	lease                 repeated
}

// queuedRows also reads into more what the query selects behind the columns.
func queuedRows(more ...any) *queuedRow {
	r := &queuedRow{}
	r.delivery = deliveryRows(append([]any{&r.due, &r.accepted, &r.trace, &r.lease, &r.leased}, more...)...)
	return r
}

func (r *queuedRow) scan(rows pgx.Rows) (q queued, err error) {
	if q.Delivery, err = r.delivery.scan(rows); err != nil {
		return q, err
	}
	q.DueAt, q.AcceptedAt, q.LeasedAt = momentOf(r.due), momentOf(r.accepted), momentOf(r.leased)
	q.TraceParent, q.Lease = r.trace, string(r.lease)
	return q, nil
}

// momentOf is moment for a nullable number.
func momentOf(micros pgtype.Int8) time.Time {
	if !micros.Valid {
		return time.Time{}
	}
	return moment(&micros.Int64)
}
