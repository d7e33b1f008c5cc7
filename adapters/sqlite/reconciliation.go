package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// addTally adds to the hour's counts. min and max are NULL if either side is.
const addTally = `INSERT INTO disposition_hours AS h (tenant_id, hour, events, expected, deliveries, not_matched, feature_gated, set_aside,
	first_position, last_position, first_delivery, last_delivery, due_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?9, ?10, nullif(?11, ''), nullif(?12, ''), ?2)
ON CONFLICT (tenant_id, hour) DO UPDATE SET events = h.events + excluded.events, expected = h.expected + excluded.expected,
	deliveries = h.deliveries + excluded.deliveries, not_matched = h.not_matched + excluded.not_matched,
	feature_gated = h.feature_gated + excluded.feature_gated, set_aside = h.set_aside + excluded.set_aside,
	first_position = min(h.first_position, excluded.first_position), last_position = max(h.last_position, excluded.last_position),
	first_delivery = coalesce(min(h.first_delivery, excluded.first_delivery), h.first_delivery, excluded.first_delivery),
	last_delivery = coalesce(max(h.last_delivery, excluded.last_delivery), h.last_delivery, excluded.last_delivery)`

func (tx *Tx) addTally(ctx context.Context, t fanout.Tally) error {
	_, err := tx.Exec(ctx, addTally, t.Tenant, stamp(t.Hour), t.Events, t.Expected, t.Deliveries, t.NotMatched, t.FeatureGated, t.SetAside,
		t.FirstPosition, t.LastPosition, t.FirstDelivery, t.LastDelivery)
	return err
}

// DeliveriesWithin sums up the deliveries that were counted; see reconciliation.Reader.
func (s *Store) DeliveriesWithin(ctx context.Context, owner tenant.ID, since, until time.Time) (int, error) {
	return one(ctx, s.db.forUsers(), value[int],
		`SELECT coalesce(sum(deliveries), 0) FROM disposition_hours WHERE tenant_id = ? AND hour >= ? AND hour < ?`, owner, stamp(since), stamp(until))
}

// ofDisposition leaves out what reconciliation.OfReplay marks.
var ofDisposition = fmt.Sprintf("accepted_at %% %d > 0", reconciliation.Week.Microseconds())

// reconciled is one statement, so that it sees one moment: a delivery that closes meanwhile is seen once. Of an event's
// deliveries to a subscription only the first counts; others are replays.
var reconciled = strings.NewReplacer("{hour}", fmt.Sprint(reconciliation.Span.Microseconds()), "{record}", perRecord,
	"{fanned out}", fannedOut, "{disposition}", ofDisposition).Replace(`WITH h AS (SELECT * FROM disposition_hours WHERE tenant_id = ?1 AND hour >= ?2 AND hour < ?3),
sent AS (SELECT hour, event_id, subscription_id, min(delivery_id), status FROM (
	SELECT h.hour, d.event_id, d.subscription_id, d.delivery_id, CASE WHEN d.lease IS NULL THEN d.status ELSE 'delivering' END AS status
	FROM h CROSS JOIN open_deliveries d ON d.tenant_id = ?1 AND d.delivery_id BETWEEN h.first_delivery AND h.last_delivery
		AND d.accepted_at >= h.hour AND d.accepted_at < h.hour + {hour} AND {disposition}
	UNION ALL
	SELECT h.hour, d.event_id, d.subscription_id, d.delivery_id, d.status
	FROM h CROSS JOIN closed_deliveries d ON d.tenant_id = ?1 AND d.delivery_id BETWEEN h.first_delivery AND h.last_delivery
		AND d.accepted_at >= h.hour AND d.accepted_at < h.hour + {hour} AND {disposition}
) GROUP BY hour, event_id, subscription_id)
SELECT hour, 'counted events', events FROM h
UNION ALL SELECT hour, 'counted expected', expected FROM h
UNION ALL SELECT hour, 'counted deliveries', deliveries FROM h
UNION ALL SELECT hour, 'counted not matched', not_matched FROM h
UNION ALL SELECT hour, 'counted feature gated', feature_gated FROM h
UNION ALL SELECT hour, 'counted set aside', set_aside FROM h
UNION ALL SELECT hour, 'events', (SELECT count(*) FROM events e WHERE e.tenant_id = ?1 AND e.sequence >= h.first_position * {record}
	AND e.sequence < min((h.last_position + 1) * {record}, {fanned out}) AND e.accepted_at >= h.hour AND e.accepted_at < h.hour + {hour}) FROM h
UNION ALL SELECT hour, 'feature gated', (SELECT count(*) FROM gated_events g WHERE g.tenant_id = ?1 AND g.accepted_at >= h.hour AND g.accepted_at < h.hour + {hour}) FROM h
UNION ALL SELECT hour, status, count(*) FROM sent GROUP BY hour, status
UNION ALL SELECT e.accepted_at - e.accepted_at % {hour}, 'waiting', count(*) FROM events e WHERE e.tenant_id = ?1 AND e.accepted_at >= ?2 AND e.accepted_at < ?3
	AND e.sequence >= {fanned out} GROUP BY 1`)

// Hours counts and compares; see reconciliation.Reader.
func (s *Store) Hours(ctx context.Context, owner tenant.ID, since, until time.Time) ([]reconciliation.Hour, error) {
	figures, err := all(ctx, s.db.forUsers(), func(r *sql.Rows) (f reconciliation.Figure, err error) {
		var hour sql.NullInt64
		err = r.Scan(&hour, &f.What, &f.Count)
		f.Hour = moment(hour)
		return f, err
	}, reconciled, owner, stamp(since), stamp(until))
	if err != nil {
		return nil, err
	}
	return reconciliation.Gather(figures)
}

// Unsettled lists open deliveries; see reconciliation.Reader.
func (s *Store) Unsettled(ctx context.Context, owner tenant.ID, since, until time.Time, limit int) ([]delivery.Delivery, error) {
	return all(ctx, s.db.forUsers(), scanListed, `SELECT `+openColumns+` FROM open_deliveries WHERE tenant_id = ?1
		AND delivery_id >= (SELECT min(first_delivery) FROM disposition_hours WHERE tenant_id = ?1 AND hour >= ?2 AND hour < ?3)
		AND delivery_id <= (SELECT max(last_delivery) FROM disposition_hours WHERE tenant_id = ?1 AND hour >= ?2 AND hour < ?3)
		AND accepted_at >= ?2 AND accepted_at < ?3 AND `+ofDisposition+` ORDER BY delivery_id LIMIT ?4`, owner, stamp(since), stamp(until), limit)
}

// NextCheck gives an hour to check to one caller; see reconciliation.CheckStore.
func (s *Store) NextCheck(ctx context.Context, now, retry time.Time) (due reconciliation.Checked, found bool, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		list, err := all(ctx, s.db, func(r *sql.Rows) (c reconciliation.Checked, err error) {
			var hour sql.NullInt64
			err = r.Scan(&c.Tenant, &hour)
			c.Begins = moment(hour)
			return c, err
		}, `UPDATE disposition_hours SET due_at = ?2 WHERE (tenant_id, hour) =
			(SELECT tenant_id, hour FROM disposition_hours WHERE due_at <= ?1 ORDER BY due_at LIMIT 1) RETURNING tenant_id, hour`, stamp(now), stamp(retry))
		if len(list) > 0 {
			due, found = list[0], true
		}
		return err
	})
	return due, found, err
}

// EndCheck notes the result of a check.
func (s *Store) EndCheck(ctx context.Context, c reconciliation.Checked, unbalanced bool, now, next time.Time) error {
	_, err := s.change(ctx, `UPDATE disposition_hours SET checked_at = ?, unbalanced = ?, due_at = ? WHERE tenant_id = ? AND hour = ?`,
		stamp(now), unbalanced, stamp(next), c.Tenant, stamp(c.Begins))
	return err
}

// CheckResult is what the checks have found.
func (s *Store) CheckResult(ctx context.Context) (reconciliation.Result, error) {
	return one(ctx, s.db, func(r *sql.Rows) (result reconciliation.Result, err error) {
		var checked sql.NullInt64
		err = r.Scan(&result.Unbalanced, &checked)
		result.CheckedAt = moment(checked)
		return result, err
	}, `SELECT (SELECT count(*) FROM disposition_hours WHERE unbalanced <> 0), (SELECT max(checked_at) FROM disposition_hours)`)
}
