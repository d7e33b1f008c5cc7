package postgres

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	// newestOfWeek gives each topic's newest position in a week, and how far its last consumer has come. A rebuild that was broken off
	// holds up nothing.
	newestOfWeek = `SELECT t.topic, r.position, (SELECT min(position) FROM consumer_offsets o WHERE o.topic = t.topic
    AND (o.consumer_group NOT LIKE 'metrics/%' OR o.consumer_group = 'metrics/' || ` + liveMetrics + `))
FROM unnest($1::text[]) AS t (topic) CROSS JOIN LATERAL (
    SELECT position FROM records WHERE week = $2 AND topic = t.topic ORDER BY position DESC LIMIT 1) AS r`

	// keepOfWeek goes through the tenant's deliveries by their IDs.
	keepOfWeek = `WITH kept AS (
    SELECT delivery_id, event_id FROM (
        (SELECT delivery_id, event_id FROM open_deliveries WHERE tenant_id = $2 AND delivery_id > $3 AND delivery_id < $4 ORDER BY delivery_id LIMIT $5)
        UNION ALL (SELECT delivery_id, event_id FROM closed_deliveries WHERE tenant_id = $2 AND delivery_id > $3 AND delivery_id < $4 ORDER BY delivery_id LIMIT $5)
    ) AS either ORDER BY delivery_id LIMIT $5
), streams AS (
    UPDATE records r SET week = 0 FROM kept WHERE r.week = $1 AND r.tenant_id = $2 AND r.stream = 'delivery/' || kept.delivery_id AND r.version > 0
), accepted AS (
    UPDATE events e SET week = 0 FROM kept WHERE e.week = $1 AND e.tenant_id = $2 AND e.event_id = kept.event_id
), rendered AS (
    UPDATE bodies b SET week = 0 FROM kept WHERE b.week = $1 AND b.tenant_id = $2 AND b.event_id = kept.event_id
), gated AS (
    UPDATE gated_events g SET week = 0 FROM kept WHERE g.week = $1 AND g.tenant_id = $2 AND g.event_id = kept.event_id
) SELECT delivery_id FROM kept ORDER BY delivery_id`

	// lostStreams deletes from week 0 the records of deliveries that have gone with their week.
	lostStreams = `WITH next AS (
    SELECT position, EXISTS (SELECT 1 FROM open_deliveries d WHERE d.tenant_id = r.tenant_id AND d.delivery_id = substr(r.stream, 10))
        OR EXISTS (SELECT 1 FROM closed_deliveries d WHERE d.tenant_id = r.tenant_id AND d.delivery_id = substr(r.stream, 10)) AS needed
    FROM records r WHERE week = 0 AND topic = $1 AND position > $2 ORDER BY position LIMIT $3
), lost AS (
    DELETE FROM records r USING next WHERE NOT next.needed AND r.week = 0 AND r.topic = $1 AND r.position = next.position
) SELECT position FROM next ORDER BY position`

	// keepLate moves the events, with what belongs to them, from their week to week 0.
	keepLate = `WITH accepted AS (
    UPDATE events SET week = 0 WHERE week = $1 AND tenant_id = $2 AND event_id = ANY ($3::text[])
), rendered AS (
    UPDATE bodies SET week = 0 WHERE week = $1 AND tenant_id = $2 AND event_id = ANY ($3::text[])
) UPDATE gated_events SET week = 0 WHERE week = $1 AND tenant_id = $2 AND event_id = ANY ($3::text[])`

	keptAtOnce = 500
)

// lostOfEvents deletes from week 0 what belongs to events that have gone with their week: see moveAstray. A delivery whose event is lost needs
// no more than its body. It is a format for a table's name.
var lostOfEvents = `WITH next AS (
    SELECT tenant_id, event_id, EXISTS (SELECT 1 FROM events e WHERE e.tenant_id = o.tenant_id AND e.event_id = o.event_id)
        OR EXISTS (SELECT 1 FROM ` + openOfEvent("o.tenant_id", "o.event_id") + `)
        OR EXISTS (SELECT 1 FROM closed_deliveries d WHERE d.tenant_id = o.tenant_id AND d.event_id = o.event_id) AS needed
    FROM %[1]s o WHERE week = 0 AND (tenant_id, event_id) > ($1, $2) ORDER BY tenant_id, event_id LIMIT $3
), lost AS (
    DELETE FROM %[1]s o USING next WHERE NOT next.needed AND o.week = 0 AND o.tenant_id = next.tenant_id AND o.event_id = next.event_id
) SELECT tenant_id, event_id FROM next ORDER BY tenant_id, event_id`

var waitsOfWeek = `SELECT EXISTS (SELECT 1 FROM events WHERE week = $2 AND tenant_id = $1 AND sequence >= ` + fannedOut + `)`

// oldestWeek is the oldest week for which one of the tables has a part, if any has.
func (s *Store) oldestWeek(ctx context.Context, tables ...string) (oldest int16, found bool, err error) {
	for _, table := range tables {
		w, err := one(ctx, s.db.from(ctx), value[int16], oldestWeek, table)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
		case err != nil:
			return 0, false, fmt.Errorf("look for the oldest week of %s: %w", table, err)
		case !found || w < oldest:
			oldest, found = w, true
		}
	}
	return oldest, found, nil
}

// dropWeek drops an oldest week, and returns how many tables it dropped. Deliveries go first: while they are there, dropping the week of
// what belongs to them would have to keep all of it.
func (s *Store) dropWeek(ctx context.Context, before retention.Cutoffs, tenants []tenant.ID) (dropped int, err error) {
	w, found, err := s.oldestWeek(ctx, inClosed)
	if err != nil {
		return 0, err
	}
	if found && w < weekOf(before.Attempts) {
		return s.drop(ctx, w, isOld, inClosed)
	}
	return s.dropAccepted(ctx, before, tenants)
}

func isOld(context.Context) (bool, error) { return true, nil }

// dropAccepted drops the oldest week of the log and of what belongs to events, once nobody needs it. It waits one week longer, in which
// nearly all deliveries that the old week left open have ended and gone.
func (s *Store) dropAccepted(ctx context.Context, before retention.Cutoffs, tenants []tenant.ID) (dropped int, err error) {
	w, found, err := s.oldestWeek(ctx, inRecords, inEvents, inBodies, inGated)
	if err != nil || !found || w+2 > weekOf(before.Events) || w+2 > weekOf(before.Attempts) {
		return 0, err
	}
	newest, needed, err := s.newestOfWeek(ctx, w)
	if err != nil || needed {
		return 0, err
	}
	if waits, err := s.waitsOfWeek(ctx, w, tenants); err != nil || waits {
		return 0, err
	}
	for _, owner := range tenants {
		if led, err := s.keepOfWeek(ctx, w, owner); err != nil || !led {
			return 0, err
		}
	}
	for _, table := range []string{inBodies, inGated} { // what its events lead to from now on counts as late
		n, err := s.drop(ctx, w, isOld, table)
		if dropped += n; err != nil {
			return dropped, err
		}
	}
	n, err := s.drop(ctx, w, func(ctx context.Context) (bool, error) {
		now, _, err := s.newestOfWeek(ctx, w)
		return maps.Equal(now, newest), err
	}, inEvents, inRecords)
	if dropped += n; err != nil || n == 0 {
		return dropped, err
	}
	return dropped, errors.Join(s.loseStreams(ctx), s.loseOfEvents(ctx, inBodies), s.loseOfEvents(ctx, inGated))
}

// drop drops the tables' parts for a week, unless something was added to it or another process was faster.
func (s *Store) drop(ctx context.Context, w int16, unchanged func(ctx context.Context) (bool, error), tables ...string) (dropped int, err error) {
	led, err := s.leading(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.briefly(ctx, func() (err error) {
			dropped, err = s.dropParts(ctx, tx, w, unchanged, tables)
			return err
		})
	})
	switch {
	case err != nil:
		return 0, fmt.Errorf("drop week %d of %s: %w", w, strings.Join(tables, ", "), err)
	case !led:
		return 0, nil
	}
	return dropped, nil
}

func (s *Store) dropParts(ctx context.Context, tx *Tx, w int16, unchanged func(ctx context.Context) (bool, error), tables []string) (dropped int, err error) {
	for _, table := range tables {
		if _, err := tx.Exec(ctx, fmt.Sprintf(lockWhole, table)); err != nil {
			return 0, err
		}
	}
	if oldest, _, err := s.oldestWeek(ctx, tables...); err != nil || oldest != w {
		return 0, err
	}
	if is, err := unchanged(ctx); err != nil || !is {
		return 0, err
	}
	for _, table := range tables {
		if _, err := tx.Exec(ctx, fmt.Sprintf(`DROP TABLE IF EXISTS %s_w%d`, table, w)); err != nil {
			return 0, err
		}
	}
	return len(tables), nil
}

// newestOfWeek is each topic's newest position in the week, and whether somebody has yet to read it.
func (s *Store) newestOfWeek(ctx context.Context, w int16) (newest map[string]int64, needed bool, err error) {
	newest = map[string]int64{}
	err = s.db.from(ctx).query(ctx, func(r pgx.Rows) error {
		var topic string
		var position int64
		var read *int64
		err := r.Scan(&topic, &position, &read)
		newest[topic] = position
		// A topic that nobody has read yet is needed only if it is that of the events: fan-out has to read them. A delivery's state is written
		// with its records, and a test is shown from its own.
		needed = needed || read == nil && topic == records.TopicEvents || read != nil && *read < position
		return err
	}, newestOfWeek, []string{records.TopicTests, records.TopicEvents, records.TopicDeliveries}, w)
	if err != nil {
		return nil, false, fmt.Errorf("look what week %d of records has: %w", w, err)
	}
	return newest, needed, nil
}

// waitsOfWeek reports whether an event of the week is yet to be fanned out: fan-out may have passed it, and left it for its tenant's turn.
func (s *Store) waitsOfWeek(ctx context.Context, w int16, tenants []tenant.ID) (waits bool, err error) {
	for _, owner := range tenants {
		waits, err = one(ctx, s.db.from(ctx), value[bool], waitsOfWeek, owner, w)
		if err != nil || waits {
			return waits, err
		}
	}
	return false, nil
}

// keepOfWeek moves to week 0 what belongs to the deliveries that still exist, late ones aside. It is false when another process is
// deleting right now.
func (s *Store) keepOfWeek(ctx context.Context, w int16, owner tenant.ID) (led bool, err error) {
	end := ids.FirstDelivery(time.UnixMicro(0).Add(time.Duration(w+2) * week))
	led, err = walk(ctx, s, "", value[string], func(after string) (sql string, args []any) {
		return keepOfWeek, []any{w, owner, after, end, keptAtOnce}
	})
	if err != nil {
		return led, fmt.Errorf("keep what is not old of week %d of tenant %s: %w", w, owner, err)
	}
	return led, nil
}

// madeLate reports whether keepOfWeek would not find the delivery among those of the week. An ID's time may be ahead of when the delivery was
// scheduled: after a clock that was ahead, a process makes no ID that sorts before the last.
func madeLate(w int16, id string) bool {
	made, ok := timeOfID("dlv_", id)
	return ok && weekOf(made) > w+1
}

// queueKeepLate keeps what belongs to events that are fanned out, or rendered again, so long after they were accepted that keepOfWeek
// would not find their deliveries among those of their week. The hour allows for clocks that differ.
func queueKeepLate(b *pgx.Batch, scheduled []fanout.Scheduled) {
	type part struct {
		week   int16
		tenant tenant.ID
	}
	late := map[part][]string{}
	for _, d := range scheduled {
		if w := weekOf(d.AcceptedAt); w > 0 && (weekOf(d.Delivery.CreatedAt.Add(time.Hour)) > w+1 || madeLate(w, d.Delivery.ID)) {
			of := part{w, d.Delivery.Tenant}
			late[of] = append(late[of], d.Delivery.EventID)
		}
	}
	for of, events := range late {
		b.Queue(keepLate, of.week, of.tenant, events)
	}
}

// loseStreams deletes what was kept of deliveries that are gone.
func (s *Store) loseStreams(ctx context.Context) error {
	_, err := walk(ctx, s, 0, value[int64], func(after int64) (sql string, args []any) {
		return lostStreams, []any{records.TopicDeliveries, after, keptAtOnce}
	})
	if err != nil {
		return fmt.Errorf("delete the streams of deliveries that have gone: %w", err)
	}
	return nil
}

// loseOfEvents deletes what was kept of events that are gone, where too much of it for a part of its own stayed in the default.
func (s *Store) loseOfEvents(ctx context.Context, table string) error {
	scan := func(r pgx.Rows) (k intake.EventKey, err error) { return k, r.Scan(&k.Tenant, &k.ID) }
	_, err := walk(ctx, s, intake.EventKey{}, scan, func(after intake.EventKey) (sql string, args []any) {
		return fmt.Sprintf(lostOfEvents, table), []any{after.Tenant, after.ID, keptAtOnce}
	})
	if err != nil {
		return fmt.Errorf("delete %s of events that have gone: %w", table, err)
	}
	return nil
}

// walk repeats a statement from one key to the next while it finds keptAtOnce rows. It is false when another process is deleting
// right now.
func walk[Key any](ctx context.Context, s *Store, after Key, scan func(pgx.Rows) (Key, error), step func(after Key) (sql string, args []any)) (led bool, err error) {
	for {
		var found []Key
		led, err = s.leading(ctx, func(ctx context.Context, tx *Tx) (err error) {
			sql, args := step(after)
			found, err = all(ctx, writer{tx}, scan, sql, args...)
			return err
		})
		if err != nil || !led || len(found) < keptAtOnce {
			return led, err
		}
		after = found[len(found)-1]
	}
}
