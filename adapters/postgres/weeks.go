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
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Records that grow old are in a part of the table for each week, counted from 1970, which is made ahead and dropped
// as a whole. Week 0 has what stays for longer: the subscriptions' log, what was set aside, and streams of deliveries
// that are kept although their week is dropped.
const (
	week       = 7 * 24 * time.Hour
	weeksAhead = 2
)

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
	missingWeeks = `SELECT w FROM (SELECT generate_series($1::int, $2::int) AS w UNION SELECT DISTINCT week FROM records_default) AS wanted
WHERE to_regclass('records_w' || w) IS NULL ORDER BY w`

	oldestWeek = `SELECT substr(c.relname, 10)::smallint AS w FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = 'records'::regclass AND c.relname ~ '^records_w[0-9]+$' ORDER BY w LIMIT 1`

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

	keptAtOnce = 500

	// Whoever waits for a table's lock keeps all others from the table.
	waitBriefly = `SET LOCAL lock_timeout = '200ms'`
	lockRecords = `LOCK TABLE ONLY records IN ACCESS EXCLUSIVE MODE`
)

// makeWeeks makes room for the records to come, and for those that came when there was none for them.
func (s *Store) makeWeeks(ctx context.Context, now time.Time) error {
	if now.IsZero() {
		return nil
	}
	missing, err := all(ctx, s.db.from(ctx), scanWeek, missingWeeks, weekOf(now), weekOf(now.Add(weeksAhead*week)))
	if err != nil {
		return fmt.Errorf("look for the weeks of records: %w", err)
	}
	for _, w := range missing {
		err := s.leading(ctx, func(ctx context.Context, tx *Tx) error {
			if _, err := tx.Exec(ctx, waitBriefly); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `SELECT make_records_week($1)`, w)
			return err
		})
		if err = s.orLater(ctx, err); err != nil {
			return fmt.Errorf("make week %d of records: %w", w, err)
		}
	}
	return nil
}

func scanWeek(r pgx.Rows) (w int16, err error) { return w, r.Scan(&w) }

// orLater forgives that others used the table: the next step tries again.
func (s *Store) orLater(ctx context.Context, err error) error {
	if code(err) != codeLockNotAvailable {
		return err
	}
	s.db.config.Logger.LogAttrs(ctx, slog.LevelInfo, "retention lets others use the records, and tries again later")
	return nil
}

// dropWeek drops the oldest week, with all in it that nobody needs, and says how many it dropped. It waits for one week
// more, in which nearly all deliveries that the old one left under way have ended and have gone.
func (s *Store) dropWeek(ctx context.Context, before retention.Cutoffs, tenants []tenant.ID) (dropped int, err error) {
	w, err := one(ctx, s.db.from(ctx), scanWeek, oldestWeek)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, nil
	case err != nil:
		return 0, fmt.Errorf("look for the oldest week of records: %w", err)
	case w+2 > weekOf(before.Events) || w+2 > weekOf(before.Attempts):
		return 0, nil
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
	err = s.leading(ctx, func(ctx context.Context, tx *Tx) (err error) {
		dropped, err = s.dropUnchanged(ctx, tx, w, newest)
		return err
	})
	if err != nil {
		return 0, s.orLater(ctx, err)
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
	for after := ""; ; {
		var kept []string
		led = false
		err := s.leading(ctx, func(ctx context.Context, tx *Tx) (err error) {
			led = true
			tx.wrote = true
			kept, err = all(ctx, tx, func(r pgx.Rows) (id string, err error) { return id, r.Scan(&id) }, keepStreams, w, owner, after, end, keptAtOnce)
			return err
		})
		if err != nil {
			return led, fmt.Errorf("keep what is not old of week %d of tenant %s: %w", w, owner, err)
		}
		if !led || len(kept) < keptAtOnce {
			return led, nil
		}
		after = kept[len(kept)-1]
	}
}

// dropUnchanged drops the week unless something came to it.
func (s *Store) dropUnchanged(ctx context.Context, tx *Tx, w int16, newest map[string]int64) (dropped int, err error) {
	for _, statement := range []string{waitBriefly, lockRecords} {
		if _, err := tx.Exec(ctx, statement); err != nil {
			return 0, err
		}
	}
	now, _, err := s.newestOfWeek(ctx, w)
	if err != nil || !maps.Equal(now, newest) {
		return 0, err
	}
	_, err = tx.Exec(ctx, fmt.Sprintf(`DROP TABLE IF EXISTS records_w%d`, w)) // another process may have dropped it, when it was empty
	return 1, err
}
