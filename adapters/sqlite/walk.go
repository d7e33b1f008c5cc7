package sqlite

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// WalkDeliveries lists oldest first; see jobs.DeliveryStore. Each part uses an index, and they are merged up to the limit.
func (s *Store) WalkDeliveries(ctx context.Context, w jobs.Walk) ([]delivery.Delivery, error) {
	var parts []string
	var args []any
	part := func(from string, where where) {
		parts = append(parts, `SELECT `+from+` WHERE `+where.String())
		args = append(args, where.args...)
	}
	open, closed := w.Statuses()
	if open {
		part(walked(openColumns, "open_deliveries", w))
	}
	switch {
	case w.Filter.EventID == "" && !slices.Contains(closed, delivery.StatusSucceeded):
		for _, status := range closed { // these are rare, and have an index of their own
			_, where := walked("", "", jobs.Walk{Tenant: w.Tenant, After: w.After, UpTo: w.UpTo})
			where.add(true, "status <> 'succeeded' AND status = ?", status)
			part(deliveryColumns+`, NULL FROM closed_deliveries INDEXED BY closed_deliveries_by_status`, where)
		}
	case len(closed) > 0:
		part(walked(deliveryColumns+", NULL", "closed_deliveries", w))
	}
	if len(parts) == 0 {
		return nil, nil
	}
	return all(ctx, s.db.forUsers(), scanListed, strings.Join(parts, " UNION ALL ")+" ORDER BY 2 LIMIT ?", append(args, w.Limit)...)
}

// walked is the part of a walk in one table.
func walked(columns, table string, w jobs.Walk) (from string, where where) {
	from = columns + ` FROM ` + table
	where.add(true, "tenant_id = ?", w.Tenant)
	switch {
	case w.Filter.EventID != "":
		from += ` INDEXED BY ` + table + `_by_event`
		where.add(true, "event_id = ?", w.Filter.EventID)
	case w.Filter.SubscriptionID != "":
		from += ` INDEXED BY ` + table + `_by_subscription`
		where.add(true, "subscription_id = ?", w.Filter.SubscriptionID)
	}
	where.add(true, "delivery_id > ?", w.After)
	where.add(true, "delivery_id <= ?", w.UpTo)
	return from, where
}

// WalkEvents lists oldest first; see jobs.EventStore.
func (s *Store) WalkEvents(ctx context.Context, w jobs.EventWalk) ([]queries.Event, error) {
	if w.Since.IsZero() {
		return all(ctx, s.db.forUsers(), scanEvent, walkEvents, w.Tenant, w.After, w.UpTo, w.Limit)
	}
	until := int64(math.MaxInt64)
	if !w.Until.IsZero() {
		until = bound(w.Until)
	}
	return all(ctx, s.db.forUsers(), scanEvent, walkEventsOfTime, w.Tenant, w.After, w.UpTo, w.Limit, reconciliation.HourOf(w.Since).UnixMicro(), until)
}

// These have one bound on each side, since SQLite would begin at one of several and go on from there to the others.
var (
	walkEvents       = walkEventsBetween(`?2`, `?3 + 1`)
	walkEventsOfTime = walkEventsBetween(`max(?2, `+knownHours+`min(first_position)`+countedWithin+`) * `+perRecord+` - 1 ELSE ?2 END)`,
		`min(?3 + 1, `+knownHours+`max(last_position) + 1`+countedWithin+`) * `+perRecord+` ELSE ?3 + 1 END)`)
)

// knownHours begins what goes by the hours of a time. Where none is older, some of the time may have gone.
const knownHours = `CASE WHEN EXISTS (SELECT 1 FROM disposition_hours WHERE tenant_id = ?1 AND hour < ?5) THEN (SELECT `

const countedWithin = ` FROM disposition_hours WHERE tenant_id = ?1 AND hour >= ?5 AND hour < ?6`

func walkEventsBetween(after, before string) string {
	return `SELECT ` + eventColumns + ` FROM events INDEXED BY events_by_sequence WHERE tenant_id = ?1 AND sequence > ` + after +
		` AND sequence < min(` + before + `, ` + fannedOut + `) ORDER BY sequence LIMIT ?4`
}

// newestDeliveries names its indexes: by itself SQLite walks all of the tenant's deliveries, the newest first, until it meets the event.
const newestDeliveries = `SELECT k.value, max(
    coalesce((SELECT max(d.delivery_id) FROM open_deliveries d INDEXED BY open_deliveries_by_event WHERE d.tenant_id = ?1 AND d.event_id = k.value AND d.subscription_id = ?2 AND d.delivery_id <= ?3 AND d.created_at < ?5), ''),
    coalesce((SELECT max(d.delivery_id) FROM closed_deliveries d INDEXED BY closed_deliveries_by_event WHERE d.tenant_id = ?1 AND d.event_id = k.value AND d.subscription_id = ?2 AND d.delivery_id <= ?3 AND d.created_at < ?5), ''))
FROM json_each(?4) k`

// NewestDeliveries gives the ID of each event's newest delivery in the lane; see jobs.DeliveryStore.
func (s *Store) NewestDeliveries(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error) {
	wanted, err := list(eventIDs)
	if err != nil {
		return nil, err
	}
	before := int64(math.MaxInt64)
	if !until.IsZero() {
		before = bound(until)
	}
	newest := make(map[string]string, len(eventIDs))
	err = s.db.forUsers().query(ctx, func(r *sql.Rows) error {
		var event, id string
		err := r.Scan(&event, &id)
		if id != "" {
			newest[event] = id
		}
		return err
	}, newestDeliveries, lane.Tenant, lane.SubscriptionID, upTo, wanted, before)
	return newest, err
}

const eventBodies = `SELECT b.event_id, b.number, b.body FROM json_each(?) k
CROSS JOIN bodies b ON b.tenant_id = ? AND b.event_id = k.value ORDER BY b.event_id, b.number`

// EventBodies loads all bodies of the events; see jobs.RenderStore.
func (s *Store) EventBodies(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error) {
	wanted, err := list(eventIDs)
	if err != nil {
		return nil, err
	}
	bodies := map[string][]fanout.Body{}
	err = s.db.forUsers().query(ctx, func(r *sql.Rows) error {
		body := fanout.Body{Tenant: owner}
		err := r.Scan(&body.EventID, &body.Number, &body.Bytes)
		if err == nil {
			body.Bytes, body.Unreadable = records.UnpackBody(body.Bytes, owner, body.EventID)
		}
		bodies[body.EventID] = append(bodies[body.EventID], body)
		return err
	}, eventBodies, wanted, owner)
	return bodies, err
}
