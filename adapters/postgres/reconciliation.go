package postgres

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// addTallies adds to the counts of each hour, in key order.
const addTallies = `INSERT INTO disposition_hours AS h (tenant_id, hour, events, expected, deliveries, not_matched, feature_gated, set_aside,
    first_position, last_position, first_delivery, last_delivery, due_at)
SELECT t, hour, events, expected, deliveries, not_matched, gated, aside, earliest, latest, nullif(first, ''), nullif(last, ''), hour
FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::text[])
    AS n (t, hour, events, expected, deliveries, not_matched, gated, aside, earliest, latest, first, last) ORDER BY t, hour
ON CONFLICT (tenant_id, hour) DO UPDATE SET events = h.events + excluded.events, expected = h.expected + excluded.expected,
    deliveries = h.deliveries + excluded.deliveries, not_matched = h.not_matched + excluded.not_matched,
    feature_gated = h.feature_gated + excluded.feature_gated, set_aside = h.set_aside + excluded.set_aside,
    first_position = least(h.first_position, excluded.first_position), last_position = greatest(h.last_position, excluded.last_position),
    first_delivery = least(h.first_delivery, excluded.first_delivery), last_delivery = greatest(h.last_delivery, excluded.last_delivery)`

func queueTallies(b *pgx.Batch, tallies []fanout.Tally) {
	if len(tallies) == 0 {
		return
	}
	n := len(tallies)
	tenants, firsts, lasts := make([]string, n), make([]string, n), make([]string, n)
	hours, events, expected, deliveries, notMatched := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	gated, aside, earliest, latest := make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
	for i, t := range tallies {
		tenants[i], hours[i], events[i], expected[i], deliveries[i] = string(t.Tenant), t.Hour.UnixMicro(), int64(t.Events), int64(t.Expected), int64(t.Deliveries)
		notMatched[i], gated[i], aside[i] = int64(t.NotMatched), int64(t.FeatureGated), int64(t.SetAside)
		earliest[i], latest[i], firsts[i], lasts[i] = t.FirstPosition, t.LastPosition, t.FirstDelivery, t.LastDelivery
	}
	b.Queue(addTallies, tenants, hours, events, expected, deliveries, notMatched, gated, aside, earliest, latest, firsts, lasts)
}

const countWithin = `SELECT coalesce(sum(deliveries), 0)::bigint FROM disposition_hours WHERE tenant_id = $1 AND hour >= $2 AND hour < $3`

// DeliveriesWithin is how many deliveries were counted; see reconciliation.Reader.
func (s *Store) DeliveriesWithin(ctx context.Context, owner tenant.ID, since, until time.Time) (int, error) {
	return one(ctx, s.db.forUsers(ctx), value[int], countWithin, owner, stamp(since), stamp(until))
}

// ofDisposition leaves out what reconciliation.OfReplay marks.
const ofDisposition = `accepted_at % ` + weekMicros + ` > 0`

// reconciled is one statement, so that it shows a single moment: a delivery that closes meanwhile is counted once. Of an event's deliveries
// to a subscription the first counts; the others are replays. OFFSET 0 makes it search an hour's deliveries by their IDs, and not a tenant's for
// all hours.
var reconciled = strings.NewReplacer("{hour}", fmt.Sprint(reconciliation.Span.Microseconds()), "{record}", perRecord,
	"{fanned out}", fannedOut, "{week}", weekMicros, "{disposition}", ofDisposition).Replace(`WITH h AS (SELECT * FROM disposition_hours WHERE tenant_id = $1 AND hour >= $2 AND hour < $3),
sent AS (SELECT DISTINCT ON (hour, event_id, subscription_id) hour, event_id, subscription_id, status FROM (
    SELECT h.hour, d.event_id, d.subscription_id, d.delivery_id, CASE WHEN d.lease IS NULL THEN d.status ELSE 'delivering' END AS status
    FROM h CROSS JOIN LATERAL (SELECT * FROM open_deliveries WHERE tenant_id = $1 AND delivery_id BETWEEN h.first_delivery AND h.last_delivery
        AND accepted_at >= h.hour AND accepted_at < h.hour + {hour} AND {disposition} OFFSET 0) AS d
    UNION ALL
    SELECT h.hour, d.event_id, d.subscription_id, d.delivery_id, d.status
    FROM h CROSS JOIN LATERAL (SELECT * FROM closed_deliveries WHERE tenant_id = $1 AND delivery_id BETWEEN h.first_delivery AND h.last_delivery
        AND accepted_at >= h.hour AND accepted_at < h.hour + {hour} AND {disposition} OFFSET 0) AS d
) AS both_tables ORDER BY hour, event_id, subscription_id, delivery_id)
SELECT hour, 'counted events', events FROM h
UNION ALL SELECT hour, 'counted expected', expected FROM h
UNION ALL SELECT hour, 'counted deliveries', deliveries FROM h
UNION ALL SELECT hour, 'counted not matched', not_matched FROM h
UNION ALL SELECT hour, 'counted feature gated', feature_gated FROM h
UNION ALL SELECT hour, 'counted set aside', set_aside FROM h
UNION ALL SELECT hour, 'events', (SELECT count(*) FROM events e WHERE e.tenant_id = $1 AND e.sequence >= h.first_position * {record}
    AND e.sequence < least((h.last_position + 1) * {record}, {fanned out}) AND e.accepted_at >= h.hour AND e.accepted_at < h.hour + {hour}) FROM h
UNION ALL SELECT hour, 'feature gated', (SELECT count(*) FROM gated_events g WHERE g.week IN (h.hour / {week}, 0) AND g.tenant_id = $1 AND g.accepted_at >= h.hour AND g.accepted_at < h.hour + {hour}) FROM h
UNION ALL SELECT hour, status, count(*) FROM sent GROUP BY hour, status
UNION ALL SELECT e.accepted_at - e.accepted_at % {hour}, 'waiting', count(*) FROM events e WHERE e.tenant_id = $1 AND e.accepted_at >= $2 AND e.accepted_at < $3
    AND e.sequence >= {fanned out} GROUP BY 1`)

// Hours counts and compares; see reconciliation.Reader.
func (s *Store) Hours(ctx context.Context, owner tenant.ID, since, until time.Time) ([]reconciliation.Hour, error) {
	figures, err := all(ctx, s.db.forUsers(ctx), func(r pgx.Rows) (f reconciliation.Figure, err error) {
		var hour *int64
		err = r.Scan(&hour, &f.What, &f.Count)
		f.Hour = moment(hour)
		return f, err
	}, reconciled, owner, stamp(since), stamp(until))
	if err != nil {
		return nil, err
	}
	return reconciliation.Gather(figures)
}

// selectUnsettled reads no more of the backlog than belongs to the period.
var selectUnsettled = `SELECT ` + openColumns + ` FROM open_deliveries WHERE tenant_id = $1
AND delivery_id >= (SELECT min(first_delivery) FROM disposition_hours WHERE tenant_id = $1 AND hour >= $2 AND hour < $3)
AND delivery_id <= (SELECT max(last_delivery) FROM disposition_hours WHERE tenant_id = $1 AND hour >= $2 AND hour < $3)
AND accepted_at >= $2 AND accepted_at < $3 AND ` + ofDisposition + ` ORDER BY delivery_id LIMIT $4`

// Unsettled lists open deliveries; see reconciliation.Reader.
func (s *Store) Unsettled(ctx context.Context, owner tenant.ID, since, until time.Time, limit int) ([]delivery.Delivery, error) {
	return all(ctx, s.db.forUsers(ctx), listed(), selectUnsettled, owner, stamp(since), stamp(until), limit)
}

const takeCheck = `UPDATE disposition_hours SET due_at = $2 WHERE (tenant_id, hour) =
    (SELECT tenant_id, hour FROM disposition_hours WHERE due_at <= $1 ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING tenant_id, hour`

// NextCheck gives each hour that is to be checked to one caller only; see reconciliation.CheckStore.
func (s *Store) NextCheck(ctx context.Context, now, retry time.Time) (due reconciliation.Checked, found bool, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		list, err := all(ctx, writer{tx}, func(r pgx.Rows) (c reconciliation.Checked, err error) {
			var hour *int64
			err = r.Scan(&c.Tenant, &hour)
			c.Begins = moment(hour)
			return c, err
		}, takeCheck, stamp(now), stamp(retry))
		if found = len(list) > 0; found {
			due = list[0]
		}
		return err
	})
	return due, found, err
}

// EndCheck notes the result of a check.
func (s *Store) EndCheck(ctx context.Context, c reconciliation.Checked, unbalanced bool, now, next time.Time) error {
	_, err := s.change(ctx, `UPDATE disposition_hours SET checked_at = $1, unbalanced = $2, due_at = $3 WHERE tenant_id = $4 AND hour = $5`,
		stamp(now), unbalanced, stamp(next), c.Tenant, stamp(c.Begins))
	return err
}

// CheckResult is what the checks have found.
func (s *Store) CheckResult(ctx context.Context) (reconciliation.Result, error) {
	return one(ctx, s.db.from(ctx), func(r pgx.Rows) (result reconciliation.Result, err error) {
		var checked *int64
		err = r.Scan(&result.Unbalanced, &checked)
		result.CheckedAt = moment(checked)
		return result, err
	}, `SELECT (SELECT count(*) FROM disposition_hours WHERE unbalanced), (SELECT max(checked_at) FROM disposition_hours)`)
}
