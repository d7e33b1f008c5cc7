package sqlite

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// where gathers the conditions that a filter sets.
type where struct {
	conditions []string
	args       []any
}

func (w *where) add(set bool, condition string, args ...any) {
	if set {
		w.conditions = append(w.conditions, condition)
		w.args = append(w.args, args...)
	}
}

func (w *where) String() string { return cmp.Or(strings.Join(w.conditions, " AND "), "true") }

// Deliveries lists open and closed deliveries together, newest first.
func (s *Store) Deliveries(ctx context.Context, f queries.DeliveryFilter) ([]delivery.Delivery, error) {
	var w where
	w.add(true, "tenant_id = ?", f.Tenant)
	w.add(f.SubscriptionID != "", "subscription_id = ?", f.SubscriptionID)
	w.add(f.EventID != "", "event_id = ?", f.EventID)
	w.add(f.EventType != "", "event_type = ?", f.EventType)
	w.add(!f.Since.IsZero(), "created_at >= ?", bound(f.Since))
	w.add(!f.Until.IsZero(), "created_at < ?", bound(f.Until))
	first, end := ids.Span("dlv_", f.Since, f.Until)
	before := min(cmp.Or(f.Before, "~"), cmp.Or(end, "~")) // behind every ID
	w.add(first != "", "delivery_id >= ?", first)
	w.add(before != "~", "delivery_id < ?", before)
	var parts []string
	var args []any
	if !f.Status.IsTerminal() {
		open := where{slices.Clone(w.conditions), slices.Clone(w.args)}
		open.add(f.Status == delivery.StatusDelivering, "lease IS NOT NULL")
		open.add(f.Status != "" && f.Status != delivery.StatusDelivering, "lease IS NULL AND status = ?", f.Status)
		parts = append(parts, `SELECT `+openColumns+` FROM open_deliveries`+indexFor("open_deliveries", f)+` WHERE `+open.String())
		args = append(args, open.args...)
	}
	if f.Status == "" || f.Status.IsTerminal() {
		w.add(f.Status != "", "status = ?", f.Status)
		w.add(isRare(f.Status), "status <> 'succeeded'") // in the words of the partial index's condition
		w.add(f.Status == delivery.StatusDeadLetter, "status = 'dead_letter'")
		parts = append(parts, `SELECT `+deliveryColumns+`, NULL FROM closed_deliveries`+indexFor("closed_deliveries", f)+` WHERE `+w.String())
		args = append(args, w.args...)
	}
	return all(ctx, s.db.forUsers(), scanListed, strings.Join(parts, " UNION ALL ")+" ORDER BY 2 DESC LIMIT ?", append(args, f.Limit)...)
}

// indexFor names the index for the filter. By itself, without statistics, SQLite takes the primary key and
// walks all of the tenant's deliveries. Filters by type and time alone do walk them, newest first.
func indexFor(table string, f queries.DeliveryFilter) string {
	switch {
	case f.EventID != "":
		return " INDEXED BY " + table + "_by_event"
	case f.Status == delivery.StatusDelivering:
		return " INDEXED BY " + table + "_by_lease" // has what all processes hold, and none of what waits
	case f.Status == delivery.StatusDeadLetter && f.SubscriptionID != "":
		return " INDEXED BY closed_deliveries_dead"
	case isRare(f.Status):
		return " INDEXED BY " + table + "_by_status"
	case f.SubscriptionID != "":
		return " INDEXED BY " + table + "_by_subscription"
	default:
		return ""
	}
}

// isRare reports whether only few closed deliveries have the status.
func isRare(s delivery.Status) bool { return s.IsTerminal() && s != delivery.StatusSucceeded }

// openColumns shows a leased delivery as delivering.
var openColumns = strings.Replace(deliveryColumns, "status,", "CASE WHEN lease IS NULL THEN status ELSE '"+string(delivery.StatusDelivering)+"' END,", 1) + ", due_at"

func scanListed(r *sql.Rows) (d delivery.Delivery, err error) {
	var due sql.NullInt64
	err = scanDelivery(r, &d, &due)
	d.DueAt = moment(due)
	return d, err
}

// Delivery finds one delivery, open or closed.
func (s *Store) Delivery(ctx context.Context, owner tenant.ID, id string) (delivery.Delivery, error) {
	d, err := one(ctx, s.db.forUsers(), scanListed, `SELECT `+openColumns+` FROM open_deliveries WHERE tenant_id = ?1 AND delivery_id = ?2
		UNION ALL SELECT `+deliveryColumns+`, NULL FROM closed_deliveries WHERE tenant_id = ?1 AND delivery_id = ?2`, owner, id)
	return d, notFound(err, "delivery")
}

const lastAttempts = `SELECT ` + recordColumns + ` FROM (SELECT value ->> 0 AS name, value ->> 1 AS newest FROM json_each(?2)) k
	CROSS JOIN records ON position = (SELECT position FROM records INDEXED BY records_by_stream
		WHERE tenant_id = ?1 AND stream = name AND version > 0 AND version <= newest AND type IN (SELECT value FROM json_each(?3)) ORDER BY version DESC LIMIT 1)`

// LastAttempts are the newest attempts of deliveries; see queries.DeliveryReader.
func (s *Store) LastAttempts(ctx context.Context, owner tenant.ID, upTo map[string]int64) (map[string]delivery.Change, error) {
	wanted := make([][]any, 0, len(upTo))
	for id, version := range upTo {
		wanted = append(wanted, []any{records.DeliveryStream(id), version})
	}
	streams, err := list(wanted)
	if err != nil {
		return nil, err
	}
	types, err := list(delivery.EndTypes())
	if err != nil {
		return nil, err
	}
	found, err := all(ctx, s.db.forUsers(), scanRecord, lastAttempts, owner, streams, types)
	return records.LastAttempts(found), err
}

const eventColumns = `event_id, event_type, tenant_id, occurred_at, accepted_at, traceparent, sequence, set_aside, retried`

func scanEvent(r *sql.Rows) (e queries.Event, err error) {
	var occurred, accepted sql.NullInt64
	var aside, retried []byte
	if err = r.Scan(&e.ID, &e.Type, &e.Tenant, &occurred, &accepted, &e.TraceParent, &e.Sequence, &aside, &retried); err != nil {
		return e, err
	}
	e.OccurredAt, e.AcceptedAt, e.Position = moment(occurred), moment(accepted), e.Sequence/records.MaxEventsPerRecord
	err = records.DecodeNotes(&e, aside, retried)
	return e, err
}

// AcceptedEvents lists newest first.
func (s *Store) AcceptedEvents(ctx context.Context, f queries.EventFilter) ([]queries.Event, error) {
	var w where
	w.add(true, "tenant_id = ?", f.Tenant)
	w.add(f.Type != "", "event_type = ?", f.Type)
	w.add(!f.Since.IsZero(), "accepted_at >= ?", bound(f.Since))
	w.add(!f.Until.IsZero(), "accepted_at < ?", bound(f.Until))
	w.add(f.Before != 0, "sequence < ?", f.Before)
	w.add(f.SetAside, "set_aside IS NOT NULL")
	from := "events"
	if f.SetAside {
		from = "events INDEXED BY events_set_aside"
	}
	return all(ctx, s.db.forUsers(), scanEvent, `SELECT `+eventColumns+` FROM `+from+` WHERE `+w.String()+` ORDER BY sequence DESC LIMIT ?`, append(w.args, f.Limit)...)
}

// Event finds one accepted event.
func (s *Store) Event(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	e, err := one(ctx, s.db.forUsers(), scanEvent, `SELECT `+eventColumns+` FROM events WHERE tenant_id = ? AND event_id = ?`, owner, id)
	return e, notFound(err, "event")
}

// FannedOut reports whether fan-out is done with the event.
func (s *Store) FannedOut(ctx context.Context, e queries.Event) (bool, error) {
	return one(ctx, s.db.forUsers(), value[bool], `SELECT ?2 < `+fannedOut, e.Tenant, e.Sequence)
}

// GatedOf lists the subscriptions that did not get the event for lack of a feature.
func (s *Store) GatedOf(ctx context.Context, owner tenant.ID, eventID string) ([]queries.Gated, error) {
	return all(ctx, s.db.forUsers(), func(r *sql.Rows) (g queries.Gated, err error) { return g, r.Scan(&g.SubscriptionID, &g.Feature) },
		`SELECT subscription_id, feature FROM gated_events WHERE tenant_id = ? AND event_id = ?`, owner, eventID)
}

var deliveriesOf = `SELECT ` + openColumns + ` FROM open_deliveries INDEXED BY open_deliveries_by_event
	WHERE tenant_id = ?1 AND event_id = ?2 UNION ALL SELECT ` + deliveryColumns + `, NULL FROM closed_deliveries INDEXED BY closed_deliveries_by_event
	WHERE tenant_id = ?1 AND event_id = ?2 ORDER BY 2 LIMIT ?3`

// DeliveriesOf lists the deliveries of each event, oldest first, at most each per event.
func (s *Store) DeliveriesOf(ctx context.Context, owner tenant.ID, eventIDs []string, each int) (map[string][]delivery.Delivery, error) {
	of := make(map[string][]delivery.Delivery, len(eventIDs))
	for _, id := range eventIDs {
		found, err := all(ctx, s.db.forUsers(), scanListed, deliveriesOf, owner, id, each)
		if err != nil {
			return nil, err
		}
		of[id] = found
	}
	return of, nil
}

// QueueDepth counts open deliveries by status, and says when the one that has been due longest fell due.
func (s *Store) QueueDepth(ctx context.Context, now time.Time) (depth map[delivery.Status]int, oldestDue time.Time, err error) {
	depth = map[delivery.Status]int{}
	err = s.db.query(ctx, func(r *sql.Rows) error {
		var status delivery.Status
		var due sql.NullInt64
		var n int
		err := r.Scan(&status, &n, &due)
		depth[status] = n
		if at := moment(due); due.Valid && !at.After(now) && (oldestDue.IsZero() || at.Before(oldestDue)) {
			oldestDue = at
		}
		return err
	}, `SELECT CASE WHEN lease IS NULL THEN status ELSE 'delivering' END AS shown, count(*), min(due_at) FROM open_deliveries GROUP BY shown`)
	return depth, oldestDue, err
}
