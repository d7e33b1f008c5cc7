package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Records and closed deliveries that grow old are in a part of their table for each week, counted from 1970, which is made
// ahead and dropped as a whole. Week 0 has what stays for longer: the subscriptions' log, what was set aside, dead letters,
// and streams of deliveries that are kept although their week is dropped.
const (
	week       = 7 * 24 * time.Hour
	weeksAhead = 2

	inRecords = "records"
	inClosed  = "closed_deliveries"
)

// byTheWeek is every table that has a part for each week, and one for what came when there was none for it.
var byTheWeek = []string{inRecords, inClosed}

func weekOf(at time.Time) int16 {
	return int16(min(max(at.UnixMicro()/week.Microseconds(), 0), math.MaxInt16-1))
}

// week is the part of the table that the record goes to.
func (r record) week() int16 {
	switch family(r.Topic) {
	case TopicEvents, TopicDeliveries, TopicTests:
		return weekOf(r.At)
	}
	return 0
}

const (
	// weekClosed is the part that a delivery goes to when it is closed; 604800000000 is a week's microseconds.
	weekClosed = `CASE status WHEN '` + string(delivery.StatusDeadLetter) + `' THEN 0 ELSE least(greatest(updated_at / 604800000000, 0), 32766) END`

	// missingWeeks and lockWhole have the table's name to be filled in.
	missingWeeks = `SELECT w FROM (SELECT generate_series($1::int, $2::int) AS w UNION SELECT DISTINCT week FROM %[1]s_default) AS wanted
WHERE to_regclass('%[1]s_w' || w) IS NULL ORDER BY w`

	oldestWeek = `SELECT substr(c.relname, length($1) + 3)::smallint AS w FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass AND c.relname ~ ('^' || $1 || '_w[0-9]+$') ORDER BY w LIMIT 1`

	// Whoever waits for a table's lock keeps all others from the table.
	waitBriefly = `SET LOCAL lock_timeout = '200ms'`
	lockWhole   = `LOCK TABLE ONLY %s IN ACCESS EXCLUSIVE MODE`
)

const (
	// newestOfWeek is beside how far each topic's last consumer has come. Nobody waits for a rebuild that was broken off.
	newestOfWeek = `SELECT t.topic, r.position, (SELECT min(position) FROM consumer_offsets o WHERE o.topic = t.topic
    AND (o.consumer_group NOT LIKE 'metrics/%' OR o.consumer_group = 'metrics/' || ` + liveMetrics + `))
FROM unnest($1::text[]) AS t (topic) CROSS JOIN LATERAL (
    SELECT position FROM records WHERE week = $2 AND topic = t.topic ORDER BY position DESC LIMIT 1) AS r`

	// keepStreams goes through the tenant's deliveries by their IDs.
	keepStreams = `WITH kept AS (
    SELECT delivery_id FROM (
        (SELECT delivery_id FROM open_deliveries WHERE tenant_id = $2 AND delivery_id > $3 AND delivery_id < $4 ORDER BY delivery_id LIMIT $5)
        UNION ALL (SELECT delivery_id FROM closed_deliveries WHERE tenant_id = $2 AND delivery_id > $3 AND delivery_id < $4 ORDER BY delivery_id LIMIT $5)
    ) AS either ORDER BY delivery_id LIMIT $5
), moved AS (
    UPDATE records r SET week = 0 FROM kept WHERE r.week = $1 AND r.tenant_id = $2 AND r.stream = 'delivery/' || kept.delivery_id AND r.version > 0
) SELECT delivery_id FROM kept ORDER BY delivery_id`

	// lostStreams takes from what is kept the records of deliveries that have gone with their week.
	lostStreams = `WITH next AS (
    SELECT position, EXISTS (SELECT 1 FROM open_deliveries d WHERE d.tenant_id = r.tenant_id AND d.delivery_id = substr(r.stream, 10))
        OR EXISTS (SELECT 1 FROM closed_deliveries d WHERE d.tenant_id = r.tenant_id AND d.delivery_id = substr(r.stream, 10)) AS needed
    FROM records r WHERE week = 0 AND topic = $1 AND position > $2 ORDER BY position LIMIT $3
), lost AS (
    DELETE FROM records r USING next WHERE NOT next.needed AND r.week = 0 AND r.topic = $1 AND r.position = next.position
) SELECT position FROM next ORDER BY position`

	keptAtOnce = 500
)

// makeWeeks makes room for what is to come, and for what came when there was none for it.
func (s *Store) makeWeeks(ctx context.Context, now time.Time) error {
	if now.IsZero() {
		return nil
	}
	for _, table := range byTheWeek {
		missing, err := all(ctx, s.db.from(ctx), scanWeek, fmt.Sprintf(missingWeeks, table), weekOf(now), weekOf(now.Add(weeksAhead*week)))
		if err != nil {
			return fmt.Errorf("look for the weeks of %s: %w", table, err)
		}
		for _, w := range missing {
			err := s.leading(ctx, func(ctx context.Context, tx *Tx) error {
				if _, err := tx.Exec(ctx, waitBriefly); err != nil {
					return err
				}
				_, err := tx.Exec(ctx, `SELECT make_week($1, $2)`, table, w)
				return err
			})
			if err = s.orLater(ctx, table, err); err != nil {
				return fmt.Errorf("make week %d of %s: %w", w, table, err)
			}
		}
	}
	return nil
}

func scanWeek(r pgx.Rows) (w int16, err error) { return w, r.Scan(&w) }

// orLater forgives that others used the table: the next step tries again.
func (s *Store) orLater(ctx context.Context, table string, err error) error {
	if code(err) != codeLockNotAvailable {
		return err
	}
	s.db.config.Logger.LogAttrs(ctx, slog.LevelInfo, "retention lets others use the table, and tries again later", slog.String("table", table))
	return nil
}

// oldestWeek is the oldest that the table has a part for, if it has any.
func (s *Store) oldestWeek(ctx context.Context, table string) (w int16, found bool, err error) {
	w, err = one(ctx, s.db.from(ctx), scanWeek, oldestWeek, table)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, false, nil
	case err != nil:
		return 0, false, fmt.Errorf("look for the oldest week of %s: %w", table, err)
	}
	return w, true, nil
}

// dropWeek drops the oldest week of a table, and says how many it dropped. Deliveries go before their records, whose week
// would keep the streams of all of them.
func (s *Store) dropWeek(ctx context.Context, before retention.Cutoffs, tenants []tenant.ID) (dropped int, err error) {
	w, found, err := s.oldestWeek(ctx, inClosed)
	if err != nil {
		return 0, err
	}
	if found && w < weekOf(before.Attempts) {
		return s.drop(ctx, inClosed, w, func(context.Context) (bool, error) { return true, nil })
	}
	return s.dropRecords(ctx, before, tenants)
}

// dropRecords drops the oldest week of records, with all in it that nobody needs. It waits for one week more, in which
// nearly all deliveries that the old one left under way have ended and have gone.
func (s *Store) dropRecords(ctx context.Context, before retention.Cutoffs, tenants []tenant.ID) (dropped int, err error) {
	w, found, err := s.oldestWeek(ctx, inRecords)
	if err != nil || !found || w+2 > weekOf(before.Events) || w+2 > weekOf(before.Attempts) {
		return 0, err
	}
	newest, needed, err := s.newestOfWeek(ctx, w)
	if err != nil || needed {
		return 0, err
	}
	for _, owner := range tenants {
		if led, err := s.keepStreams(ctx, w, owner); err != nil || !led {
			return 0, err
		}
	}
	dropped, err = s.drop(ctx, inRecords, w, func(ctx context.Context) (bool, error) {
		now, _, err := s.newestOfWeek(ctx, w)
		return maps.Equal(now, newest), err
	})
	if err != nil || dropped == 0 {
		return 0, err
	}
	return dropped, s.loseStreams(ctx)
}

// drop drops the part of the table for a week, unless something came to it or another process was faster.
func (s *Store) drop(ctx context.Context, table string, w int16, unchanged func(ctx context.Context) (bool, error)) (dropped int, err error) {
	err = s.leading(ctx, func(ctx context.Context, tx *Tx) error {
		dropped = 0
		for _, statement := range []string{waitBriefly, fmt.Sprintf(lockWhole, table)} {
			if _, err := tx.Exec(ctx, statement); err != nil {
				return err
			}
		}
		if oldest, _, err := s.oldestWeek(ctx, table); err != nil || oldest != w {
			return err
		}
		if is, err := unchanged(ctx); err != nil || !is {
			return err
		}
		dropped = 1
		_, err := tx.Exec(ctx, fmt.Sprintf(`DROP TABLE %s_w%d`, table, w))
		return err
	})
	if err != nil {
		return 0, s.orLater(ctx, table, err)
	}
	return dropped, nil
}

// newestOfWeek is the newest position of each topic in it, and whether somebody has still to read it.
func (s *Store) newestOfWeek(ctx context.Context, w int16) (newest map[string]int64, needed bool, err error) {
	shards, err := s.db.Shards(ctx)
	if err != nil {
		return nil, false, err
	}
	topics := []string{TopicTests}
	for shard := range shards {
		topics = append(topics, ShardTopic(TopicEvents, shard, shards), ShardTopic(TopicDeliveries, shard, shards))
	}
	newest = map[string]int64{}
	err = s.db.from(ctx).query(ctx, func(r pgx.Rows) error {
		var topic string
		var position int64
		var read *int64
		err := r.Scan(&topic, &position, &read)
		newest[topic] = position
		// A delivery's state is written with its records, so that nobody has to read those.
		needed = needed || read == nil && family(topic) != TopicDeliveries || read != nil && *read < position
		return err
	}, newestOfWeek, topics, w)
	if err != nil {
		return nil, false, fmt.Errorf("look what week %d of records has: %w", w, err)
	}
	return newest, needed, nil
}

// keepStreams takes from a week the records of all deliveries that there still are. It is false when another process
// deletes right now.
func (s *Store) keepStreams(ctx context.Context, w int16, owner tenant.ID) (led bool, err error) {
	end := firstID("dlv_", time.UnixMicro(0).Add(time.Duration(w+2)*week))
	led, err = walk(ctx, s, "", func(r pgx.Rows) (id string, err error) { return id, r.Scan(&id) }, func(after string) (sql string, args []any) {
		return keepStreams, []any{w, owner, after, end, keptAtOnce}
	})
	if err != nil {
		return led, fmt.Errorf("keep what is not old of week %d of tenant %s: %w", w, owner, err)
	}
	return led, nil
}

// loseStreams deletes what was kept of deliveries that have gone.
func (s *Store) loseStreams(ctx context.Context) error {
	topics, err := s.deliveryTopics(ctx)
	if err != nil {
		return err
	}
	for _, topic := range topics {
		_, err := walk(ctx, s, 0, func(r pgx.Rows) (n int64, err error) { return n, r.Scan(&n) }, func(after int64) (sql string, args []any) {
			return lostStreams, []any{topic, after, keptAtOnce}
		})
		if err != nil {
			return fmt.Errorf("delete the streams of deliveries that have gone: %w", err)
		}
	}
	return nil
}

// walk runs a statement from one key to the next, as long as it finds as many as are kept at once. It is false when another
// process deletes right now.
func walk[Key any](ctx context.Context, s *Store, after Key, scan func(pgx.Rows) (Key, error), step func(after Key) (sql string, args []any)) (led bool, err error) {
	for {
		var found []Key
		led = false
		err := s.leading(ctx, func(ctx context.Context, tx *Tx) (err error) {
			led, tx.wrote = true, true
			sql, args := step(after)
			found, err = all(ctx, tx, scan, sql, args...)
			return err
		})
		if err != nil || !led || len(found) < keptAtOnce {
			return led, err
		}
		after = found[len(found)-1]
	}
}
