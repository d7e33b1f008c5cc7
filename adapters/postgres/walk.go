package postgres

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// WalkDeliveries lists oldest first; see jobs.DeliveryStore. Each part uses an index, and stops at the limit.
func (s *Store) WalkDeliveries(ctx context.Context, w jobs.Walk) ([]delivery.Delivery, error) {
	sql, args := walkDeliveries(w)
	if sql == "" {
		return nil, nil
	}
	return all(ctx, s.db.forUsers(ctx), listed(), sql, args...)
}

func walkDeliveries(w jobs.Walk) (sql string, args []any) {
	all := where{args: []any{w.Limit}}
	owner := all.add(true, "tenant_id = %s", w.Tenant)
	after := all.add(true, "delivery_id > %s", w.After)
	upTo := all.add(true, "delivery_id <= %s", w.UpTo)
	rare := slices.Clone(all.conditions)
	open, closed := w.Statuses()
	byStatus := w.Filter.EventID == "" && !slices.Contains(closed, delivery.StatusSucceeded) // all others are rare, and have their own index
	event := all.add(w.Filter.EventID != "", "event_id = %s", w.Filter.EventID)
	sub := all.add(w.Filter.EventID == "" && w.Filter.SubscriptionID != "" && (open || !byStatus), "subscription_id = %s", w.Filter.SubscriptionID)
	var parts []string
	part := func(from string, conditions []string, order string) {
		parts = append(parts, `(SELECT `+from+` WHERE `+strings.Join(conditions, " AND ")+` ORDER BY `+order+` LIMIT $1)`)
	}
	if open {
		from, conditions, order := "open_deliveries", all.conditions, "delivery_id"
		switch {
		case event != "":
			from = openOfEvent(owner, event)
		case sub != "":
			lane := laneStart(owner, sub)
			conditions, order = slices.Concat([]string{laneKey + " > " + lane + " || " + after, laneKey + " <= " + lane + " || " + upTo}, all.conditions[len(rare):]), laneKey
		}
		part(openColumns+` FROM `+from, conditions, order)
	}
	switch {
	case byStatus:
		for _, status := range closed {
			part(deliveryColumns+`, NULL::bigint FROM closed_deliveries`, append(slices.Clone(rare), "status = '"+string(status)+"'"), "delivery_id")
		}
	case len(closed) > 0:
		from := "closed_deliveries"
		if event != "" {
			from = closedOfEvent(owner, event)
		}
		part(deliveryColumns+`, NULL::bigint FROM `+from, all.conditions, "delivery_id")
	}
	if len(parts) == 0 {
		return "", nil
	}
	return "SELECT * FROM (" + strings.Join(parts, " UNION ALL ") + ") AS d ORDER BY 2 LIMIT $1", all.args
}

// WalkEvents lists oldest first; see jobs.EventStore.
func (s *Store) WalkEvents(ctx context.Context, w jobs.EventWalk) ([]queries.Event, error) {
	sql, args := walkEvents(w)
	return all(ctx, s.db.forUsers(ctx), scanEvent, sql, args...)
}

func walkEvents(w jobs.EventWalk) (sql string, args []any) {
	var c where
	c.add(true, "tenant_id = %s", w.Tenant) // $1, as fannedOut wants it
	c.add(true, "sequence > %s", w.After)
	c.add(true, "sequence <= %s", w.UpTo)
	c.conditions = append(c.conditions, "sequence < "+fannedOut)
	if !w.Since.IsZero() {
		hours := where{args: c.args}
		from := hours.add(true, "hour >= %s", reconciliation.HourOf(w.Since).UnixMicro())
		hours.add(!w.Until.IsZero(), "hour < %s", bound(w.Until))
		within := ` FROM disposition_hours WHERE tenant_id = $1 AND ` + hours.String()
		c.args = hours.args
		known := `CASE WHEN EXISTS (SELECT 1 FROM disposition_hours WHERE tenant_id = $1 AND hour < ` + from + `) THEN (SELECT ` // else hours of the time may have gone
		c.conditions = append(c.conditions, "sequence >= "+known+"min(first_position)"+within+") * "+perRecord+" ELSE 0 END",
			"sequence < "+known+"max(last_position) + 1"+within+") * "+perRecord+" ELSE $3 + 1 END")
		c.add(true, "(week = 0 OR week >= %s)", weekOf(w.Since))
		c.add(!w.Until.IsZero(), "(week = 0 OR week <= %s)", weekOf(w.Until))
	}
	return `SELECT ` + eventColumns + ` FROM events WHERE ` + c.String() + ` ORDER BY sequence LIMIT ` + c.next(), append(c.args, w.Limit)
}

var newestDeliveries = `SELECT k.event_id, greatest(
    (SELECT max(d.delivery_id) FROM ` + openOfEvent("$1", "k.event_id") + ` WHERE d.subscription_id = $2 AND d.delivery_id <= $3 AND d.created_at < $5),
    (SELECT max(d.delivery_id) FROM ` + closedOfEvent("$1", "k.event_id") + ` WHERE d.subscription_id = $2 AND d.delivery_id <= $3 AND d.created_at < $5))
FROM unnest($4::text[]) AS k (event_id)`

// NewestDeliveries finds each event's newest delivery in the lane; see jobs.DeliveryStore.
func (s *Store) NewestDeliveries(ctx context.Context, lane dispatch.Lane, eventIDs []string, upTo string, until time.Time) (map[string]string, error) {
	before := int64(math.MaxInt64)
	if !until.IsZero() {
		before = bound(until)
	}
	newest := make(map[string]string, len(eventIDs))
	err := s.db.forUsers(ctx).query(ctx, func(r pgx.Rows) error {
		var event string
		var id *string
		err := r.Scan(&event, &id)
		if id != nil {
			newest[event] = *id
		}
		return err
	}, newestDeliveries, lane.Tenant, lane.SubscriptionID, upTo, eventIDs, before)
	return newest, err
}

// bodiesClass names the lock under which bodies are added to events that already have some, and old events are deleted ("ORDB").
const bodiesClass = 0x4F524442

const lockBodies = `SELECT pg_advisory_xact_lock($1::int, $2::int)`

const eventBodies = `SELECT event_id, number, body FROM bodies WHERE tenant_id = $1 AND event_id = ANY($2::text[]) ORDER BY event_id, number`

// EventBodies loads all bodies of the events; see jobs.RenderStore.
func (s *Store) EventBodies(ctx context.Context, owner tenant.ID, eventIDs []string) (map[string][]fanout.Body, error) {
	if tx, inTx := ctx.Value(txKey{}).(*Tx); inTx {
		if _, err := tx.Exec(ctx, lockBodies, bodiesClass, allTenants); err != nil {
			return nil, err
		}
	}
	bodies := map[string][]fanout.Body{}
	err := s.db.forUsers(ctx).query(ctx, func(r pgx.Rows) error {
		body := fanout.Body{Tenant: owner}
		err := r.Scan(&body.EventID, &body.Number, &body.Bytes)
		if err == nil {
			body.Bytes, body.Unreadable = records.UnpackBody(body.Bytes, owner, body.EventID)
		}
		bodies[body.EventID] = append(bodies[body.EventID], body)
		return err
	}, eventBodies, owner, eventIDs)
	return bodies, err
}
