package postgres

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// where gathers the conditions of a filter.
type where struct {
	conditions []string
	args       []any
}

// add adds the condition if it is set, with the parameter's placeholder in place of %s, and returns the placeholder; else "".
func (w *where) add(set bool, condition string, arg any) (placeholder string) {
	if !set {
		return ""
	}
	placeholder = w.next()
	w.conditions = append(w.conditions, strings.ReplaceAll(condition, "%s", placeholder))
	w.args = append(w.args, arg)
	return placeholder
}

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return "true"
	}
	return strings.Join(w.conditions, " AND ")
}

// next is the placeholder of the next parameter.
func (w *where) next() string { return "$" + strconv.Itoa(len(w.args)+1) }

// Deliveries lists newest first, open and closed ones in one order. Each part is sorted and limited by its index before they are merged.
func (s *Store) Deliveries(ctx context.Context, f queries.DeliveryFilter) ([]delivery.Delivery, error) {
	sql, args := listDeliveries(f)
	return all(ctx, s.db.forUsers(ctx), listed(), sql, args...)
}

func listDeliveries(f queries.DeliveryFilter) (sql string, args []any) {
	w := where{args: []any{f.Limit}}
	first, end := ids.Span("dlv_", f.Since, f.Until)
	owner := w.add(true, "tenant_id = %s", f.Tenant)
	before := w.add(true, "delivery_id < %s", min(cmp.Or(f.Before, "~"), cmp.Or(end, "~"))) // behind every ID
	from := w.add(true, "delivery_id >= %s", first)
	ofTenant := len(w.conditions)
	event := w.add(f.EventID != "", "event_id = %s", f.EventID)
	sub := w.add(f.SubscriptionID != "", "subscription_id = %s", f.SubscriptionID)
	w.add(f.EventType != "", "event_type = %s", f.EventType)
	w.add(!f.Since.IsZero(), "created_at >= %s", bound(f.Since))
	w.add(!f.Until.IsZero(), "created_at < %s", bound(f.Until))
	if f.Status.IsTerminal() && f.Status != delivery.StatusSucceeded { // in the text, so that plans that are kept search the index of what is rare
		w.conditions = append(w.conditions, "status = '"+string(f.Status)+"'")
	} else {
		w.add(f.Status != "" && f.Status != delivery.StatusDelivering, "status = %s", f.Status)
	}
	var parts []string
	if !f.Status.IsTerminal() {
		table, open, order := "open_deliveries", slices.Clone(w.conditions), "delivery_id"
		switch {
		case event != "":
			table = openOfEvent(owner, event)
		case sub != "":
			lane := laneStart(owner, sub)
			open, order = slices.Concat([]string{laneKey + " >= " + lane + " || " + from, laneKey + " < " + lane + " || " + before}, w.conditions[ofTenant:]), laneKey
		}
		switch f.Status {
		case "":
		case delivery.StatusDelivering:
			open = append(open, "lease IS NOT NULL")
		default:
			open = append(open, "lease IS NULL")
		}
		parts = append(parts, `(SELECT `+openColumns+` FROM `+table+` WHERE `+strings.Join(open, " AND ")+` ORDER BY `+order+` DESC LIMIT $1)`)
	}
	switch {
	case f.Status == delivery.StatusDeadLetter && sub != "" && event == "":
		parts = append(parts, deadOfLane(w.conditions))
	case f.Status == "" || f.Status.IsTerminal():
		table := "closed_deliveries"
		if event != "" {
			table = closedOfEvent(owner, event)
		}
		parts = append(parts, `(SELECT `+deliveryColumns+`, NULL::bigint FROM `+table+` WHERE `+w.String()+` ORDER BY delivery_id DESC LIMIT $1)`)
	}
	return "SELECT * FROM (" + strings.Join(parts, " UNION ALL ") + ") AS d ORDER BY 2 DESC LIMIT $1", w.args
}

// deadOfLane searches by the subscription alone, which is in its own index, and then checks the tenant, which comes first of the conditions:
// by the tenant it would read what all of its subscriptions gave up. Week 0 has all dead letters.
func deadOfLane(conditions []string) string {
	return `(SELECT ` + deliveryColumns + `, NULL::bigint FROM (SELECT * FROM closed_deliveries WHERE week = 0 AND ` + strings.Join(conditions[1:], " AND ") +
		` ORDER BY delivery_id DESC LIMIT $1) AS dead WHERE ` + conditions[0] + `)`
}

// openColumns shows a leased delivery as delivering.
var openColumns = strings.Replace(deliveryColumns, "status,", "CASE WHEN lease IS NULL THEN status ELSE '"+string(delivery.StatusDelivering)+"' END,", 1) + ", due_at"

// listed reads deliveryColumns and due_at.
func listed() func(pgx.Rows) (delivery.Delivery, error) {
	var due pgtype.Int8
	row := deliveryRows(&due)
	return func(rows pgx.Rows) (delivery.Delivery, error) {
		d, err := row.scan(rows)
		d.DueAt = momentOf(due)
		return d, err
	}
}

var selectDelivery = `SELECT ` + openColumns + ` FROM open_deliveries WHERE tenant_id = $1 AND delivery_id = $2
UNION ALL SELECT ` + deliveryColumns + `, NULL::bigint FROM closed_deliveries WHERE tenant_id = $1 AND delivery_id = $2`

// Delivery finds one delivery, open or closed.
func (s *Store) Delivery(ctx context.Context, owner tenant.ID, id string) (delivery.Delivery, error) {
	d, err := one(ctx, s.db.forUsers(ctx), listed(), selectDelivery, owner, id)
	return d, notFound(err, "delivery")
}

// lastAttempts reads of each stream all that is about an attempt, since the index by stream does not include the version.
const lastAttempts = `SELECT r.* FROM unnest($2::text[], $3::bigint[]) AS k (stream, version)
CROSS JOIN LATERAL (SELECT ` + recordColumns + ` FROM records
    WHERE tenant_id = $1 AND stream = k.stream AND version > 0 AND version <= k.version AND type = ANY($4::text[]) ORDER BY version DESC LIMIT 1) AS r`

// LastAttempts are the newest attempts of deliveries; see queries.DeliveryReader.
func (s *Store) LastAttempts(ctx context.Context, owner tenant.ID, upTo map[string]int64) (map[string]delivery.Change, error) {
	streams, versions := make([]string, 0, len(upTo)), make([]int64, 0, len(upTo))
	for id, version := range upTo {
		streams, versions = append(streams, records.DeliveryStream(id)), append(versions, version)
	}
	list, err := all(ctx, s.db.forUsers(ctx), scanRecord, lastAttempts, owner, streams, versions, delivery.EndTypes())
	return records.LastAttempts(list), err
}

const eventColumns = `event_id, event_type, tenant_id, occurred_at, accepted_at, traceparent, sequence, set_aside, retried`

func scanEvent(r pgx.Rows) (e queries.Event, err error) {
	var occurred, accepted *int64
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
	from, err := s.db.fromLog(ctx, anyEvent)
	if err != nil {
		return nil, err
	}
	sql, args := listEvents(f)
	return all(ctx, from, scanEvent, sql, args...)
}

func listEvents(f queries.EventFilter) (sql string, args []any) {
	var w where
	w.add(true, "tenant_id = %s", f.Tenant)
	w.add(f.Type != "", "event_type = %s", f.Type)
	w.add(!f.Since.IsZero(), "accepted_at >= %s", bound(f.Since))
	w.add(!f.Until.IsZero(), "accepted_at < %s", bound(f.Until))
	w.add(!f.Since.IsZero(), "(week = 0 OR week >= %s)", weekOf(f.Since)) // else each other week would be read to its end
	w.add(!f.Until.IsZero(), "(week = 0 OR week <= %s)", weekOf(f.Until))
	w.add(f.Before != 0, "sequence < %s", f.Before)
	if f.SetAside {
		w.conditions = append(w.conditions, "set_aside IS NOT NULL")
	}
	return `SELECT ` + eventColumns + ` FROM events WHERE ` + w.String() + ` ORDER BY sequence DESC LIMIT ` + w.next(), append(w.args, f.Limit)
}

const selectEvent = `SELECT ` + eventColumns + ` FROM events WHERE tenant_id = $1 AND event_id = $2`

// Event finds one accepted event.
func (s *Store) Event(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	from, err := s.db.fromLog(ctx, anyEvent)
	if err != nil {
		return queries.Event{}, err
	}
	e, err := one(ctx, from, scanEvent, selectEvent, owner, id)
	return e, notFound(err, "event")
}

var isFannedOut = `SELECT $2::bigint < ` + fannedOut

// FannedOut reports whether fan-out is done with the event.
func (s *Store) FannedOut(ctx context.Context, e queries.Event) (bool, error) {
	return one(ctx, s.db.forUsers(ctx), value[bool], isFannedOut, e.Tenant, e.Sequence)
}

// GatedOf lists the subscriptions from which a missing feature withheld the event.
func (s *Store) GatedOf(ctx context.Context, owner tenant.ID, eventID string) ([]queries.Gated, error) {
	return all(ctx, s.db.forUsers(ctx), func(r pgx.Rows) (g queries.Gated, err error) { return g, r.Scan(&g.SubscriptionID, &g.Feature) },
		`SELECT subscription_id, feature FROM gated_events WHERE tenant_id = $1 AND event_id = $2 ORDER BY subscription_id`, owner, eventID)
}

var deliveriesOf = `SELECT d.* FROM unnest($2::text[]) AS k (id) CROSS JOIN LATERAL (
    SELECT * FROM (SELECT ` + openColumns + ` FROM ` + openOfEvent("$1", "k.id") + `
        UNION ALL SELECT ` + deliveryColumns + `, NULL::bigint FROM ` + closedOfEvent("$1", "k.id") + `) AS u
    ORDER BY 2 LIMIT $3) AS d`

// DeliveriesOf lists the deliveries of each event, oldest first, at most each of them per event.
func (s *Store) DeliveriesOf(ctx context.Context, owner tenant.ID, eventIDs []string, each int) (map[string][]delivery.Delivery, error) {
	found, err := all(ctx, s.db.forUsers(ctx), listed(), deliveriesOf, owner, eventIDs, each)
	of := make(map[string][]delivery.Delivery, len(eventIDs))
	for _, d := range found {
		of[d.EventID] = append(of[d.EventID], d)
	}
	return of, err
}

// QueueDepth counts the open deliveries by status, and says since when the longest due one has been due; zero when none is due.
func (s *Store) QueueDepth(ctx context.Context, now time.Time) (depth map[delivery.Status]int, oldestDue time.Time, err error) {
	depth = map[delivery.Status]int{}
	err = s.db.from(ctx).query(ctx, func(r pgx.Rows) error {
		var status delivery.Status
		var due *int64
		var n int
		err := r.Scan(&status, &n, &due)
		depth[status] = n
		if at := moment(due); due != nil && !at.After(now) && (oldestDue.IsZero() || at.Before(oldestDue)) {
			oldestDue = at
		}
		return err
	}, `SELECT CASE WHEN lease IS NULL THEN status ELSE 'delivering' END AS shown, count(*), min(due_at) FROM open_deliveries GROUP BY shown`)
	return depth, oldestDue, err
}
