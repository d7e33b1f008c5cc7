package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	countOpen    = `SELECT count(*) FROM (SELECT 1 FROM open_deliveries LIMIT $1) AS o`
	countOpenOf  = `SELECT count(*) FROM (SELECT 1 FROM open_deliveries WHERE tenant_id = $2 LIMIT $1) AS o`
	nextUnrouted = `SELECT (SELECT recorded_at FROM records WHERE topic = '` + records.TopicEvents + `' AND position > ` + handledByFanOut + ` ORDER BY position LIMIT 1)`
	perEvent     = `SELECT k.tenant_id, coalesce(
    (SELECT h.deliveries::float8 / h.events FROM disposition_hours h WHERE h.tenant_id = k.tenant_id AND h.events > 0 ORDER BY h.hour DESC LIMIT 1),
    (SELECT count(*) FROM (SELECT 1 FROM subscriptions s WHERE s.tenant_id = k.tenant_id AND s.status <> 'deleted' LIMIT $2) AS s)) FROM unnest($1::text[]) AS k (tenant_id)`
	countProcesses = `SELECT count(*) FROM incarnations WHERE heartbeat_at >= $1`
	// Somebody may count for a day that has just ended. A day later than tomorrow was of a clock that was wrong.
	ofDay = `d.day BETWEEN excluded.day AND excluded.day + 86400000000`
	// Rows are locked in key order, so that transactions cannot deadlock.
	addToDay = `INSERT INTO daily_events AS d (tenant_id, day, events)
SELECT tenant_id, $1, sent FROM unnest($2::text[], $3::bigint[]) AS k (tenant_id, sent) ORDER BY tenant_id COLLATE "C"
ON CONFLICT (tenant_id) DO UPDATE SET events = CASE WHEN ` + ofDay + ` THEN d.events ELSE 0 END + excluded.events, day = CASE WHEN ` + ofDay + ` THEN d.day ELSE excluded.day END
RETURNING tenant_id, events`
)

// CountOpen counts open deliveries; see intake.BacklogStore.
func (s *Store) CountOpen(ctx context.Context, owner tenant.ID, upTo int) (int, error) {
	sql, args := countOpen, []any{upTo}
	if owner != "" {
		sql, args = countOpenOf, []any{upTo, owner}
	}
	return one(ctx, s.db.from(ctx), value[int], sql, args...)
}

// OldestUnrouted is when the next record that fan-out has to read was written; zero when there is none.
func (s *Store) OldestUnrouted(ctx context.Context) (time.Time, error) {
	oldest, err := one(ctx, s.db.from(ctx), value[*int64], nextUnrouted)
	return moment(oldest), err
}

// DeliveriesPerEvent estimates how many deliveries one of the tenant's events leads to; see intake.BacklogStore.
func (s *Store) DeliveriesPerEvent(ctx context.Context, owners []tenant.ID) (map[tenant.ID]float64, error) {
	found := make(map[tenant.ID]float64, len(owners))
	err := s.db.from(ctx).query(ctx, func(r pgx.Rows) error {
		var owner tenant.ID
		var n float64
		err := r.Scan(&owner, &n)
		found[owner] = n
		return err
	}, perEvent, owners, intake.MostAssumed)
	return found, err
}

// CountProcesses counts the live processes; see intake.BacklogStore.
func (s *Store) CountProcesses(ctx context.Context, since time.Time) (int, error) {
	return one(ctx, s.db.from(ctx), value[int], countProcesses, stamp(since))
}

// CountDay adds to the day's counts; see intake.QuotaStore.
func (s *Store) CountDay(ctx context.Context, day time.Time, sent map[tenant.ID]int) (counted map[tenant.ID]int, err error) {
	owners, counts := make([]string, 0, len(sent)), make([]int64, 0, len(sent))
	for owner, n := range sent {
		owners, counts = append(owners, string(owner)), append(counts, int64(n))
	}
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		counted = make(map[tenant.ID]int, len(sent))
		return writer{tx}.query(ctx, func(r pgx.Rows) error {
			var owner tenant.ID
			var n int
			err := r.Scan(&owner, &n)
			counted[owner] = n
			return err
		}, addToDay, stamp(day), owners, counts)
	})
	return counted, err
}
