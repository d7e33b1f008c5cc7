package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	countOpen    = `SELECT count(*) FROM (SELECT 1 FROM open_deliveries LIMIT ?2)`
	countOpenOf  = `SELECT count(*) FROM (SELECT 1 FROM open_deliveries WHERE tenant_id = ?1 LIMIT ?2)`
	nextUnrouted = `SELECT recorded_at FROM records WHERE topic = '` + records.TopicEvents + `' AND position > coalesce(
		(SELECT position FROM consumer_offsets WHERE consumer_group = '` + fanout.Group + `' AND topic = '` + records.TopicEvents + `'), 0) ORDER BY position LIMIT 1`
	perEvent = `SELECT k.value, coalesce(
		(SELECT CAST(h.deliveries AS REAL) / h.events FROM disposition_hours h WHERE h.tenant_id = k.value AND h.events > 0 ORDER BY h.hour DESC LIMIT 1),
		(SELECT count(*) FROM (SELECT 1 FROM subscriptions s WHERE s.tenant_id = k.value AND s.status <> 'deleted' LIMIT ?2))) FROM json_each(?1) k`
	countProcesses = `SELECT count(*) FROM incarnations WHERE heartbeat_at >= ?`
	// Somebody may count for a day that has just ended. A day later than tomorrow was of a clock that was wrong.
	ofDay    = `d.day BETWEEN excluded.day AND excluded.day + 86400000000`
	addToDay = `INSERT INTO daily_events AS d (tenant_id, day, events) SELECT k.key, ?1, k.value FROM json_each(?2) k WHERE true
		ON CONFLICT (tenant_id) DO UPDATE SET events = CASE WHEN ` + ofDay + ` THEN d.events ELSE 0 END + excluded.events,
			day = CASE WHEN ` + ofDay + ` THEN d.day ELSE excluded.day END RETURNING tenant_id, events`
)

// CountOpen counts open deliveries; see intake.BacklogStore.
func (s *Store) CountOpen(ctx context.Context, owner tenant.ID, upTo int) (int, error) {
	query := countOpenOf
	if owner == "" {
		query = countOpen
	}
	return one(ctx, s.db, value[int], query, owner, upTo)
}

// OldestUnrouted is when the next record that fan-out will read was written.
func (s *Store) OldestUnrouted(ctx context.Context) (time.Time, error) {
	oldest, err := one(ctx, s.db, value[sql.NullInt64], nextUnrouted)
	if errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, nil
	}
	return moment(oldest), err
}

// DeliveriesPerEvent is how many deliveries an event of each tenant leads to; see intake.BacklogStore.
func (s *Store) DeliveriesPerEvent(ctx context.Context, owners []tenant.ID) (map[tenant.ID]float64, error) {
	asked, err := list(owners)
	if err != nil {
		return nil, err
	}
	found := make(map[tenant.ID]float64, len(owners))
	err = s.db.query(ctx, func(r *sql.Rows) error {
		var owner tenant.ID
		var n float64
		err := r.Scan(&owner, &n)
		found[owner] = n
		return err
	}, perEvent, asked, intake.MostAssumed)
	return found, err
}

// CountProcesses counts the processes that are alive; see intake.BacklogStore.
func (s *Store) CountProcesses(ctx context.Context, since time.Time) (int, error) {
	return one(ctx, s.db, value[int], countProcesses, stamp(since))
}

// CountDay adds to the day's counts; see intake.QuotaStore.
func (s *Store) CountDay(ctx context.Context, day time.Time, sent map[tenant.ID]int) (map[tenant.ID]int, error) {
	added, err := list(sent)
	if err != nil {
		return nil, err
	}
	counted := make(map[tenant.ID]int, len(sent))
	err = s.db.Update(ctx, func(ctx context.Context, _ *Tx) error {
		return s.db.query(ctx, func(r *sql.Rows) error {
			var id tenant.ID
			var n int
			err := r.Scan(&id, &n)
			counted[id] = n
			return err
		}, addToDay, stamp(day), added)
	})
	return counted, err
}
