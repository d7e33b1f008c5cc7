package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"time"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Old rows are looked for outside the transaction that deletes them, so that no writer waits for a search that finds nothing.
// Deliveries are walked by their keys, whose IDs say when they were made; see retention.Passed. Events and records are walked in
// order up to the limit, to which young ones count too: so a search neither walks everything to find nothing, nor everything old
// to take a part of it. Rows with a time in the future (from a clock that was wrong) do not count, so they do not block the others.
// An old event that has a delivery is passed once a day, and deleted with the last of its deliveries.
const (
	oldDeliveries = `SELECT delivery_id, event_id FROM closed_deliveries
		WHERE tenant_id = ?1 AND delivery_id > ?2 AND delivery_id < ?3 AND updated_at < ?4 AND (status = 'dead_letter') = ?5 ORDER BY delivery_id LIMIT ?6`
	isOld        = `updated_at < CASE status WHEN 'dead_letter' THEN ?3 ELSE ?4 END`
	notDelivered = `NOT EXISTS (SELECT 1 FROM open_deliveries d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.event_id)
		AND NOT EXISTS (SELECT 1 FROM closed_deliveries d WHERE d.tenant_id = e.tenant_id AND d.event_id = e.event_id)`
	oldRecords = `SELECT coalesce(max(position), 0) FROM (SELECT position, recorded_at FROM records WHERE topic = ?1 AND position < ?2
			AND recorded_at <= ?5 ORDER BY position LIMIT ?4)
		WHERE recorded_at < ?3`
	oldJobs  = ` FROM jobs WHERE tenant_id = ?1 AND job_id < ?4 AND turn_at IS NULL`
	oldHours = ` FROM disposition_hours WHERE tenant_id = ?1 AND hour < ?5`
	hasRest  = `EXISTS (SELECT 1` + oldJobs + `) OR EXISTS (SELECT 1` + oldHours + `) OR EXISTS (` + oldMetrics + `)`
	oldRest  = `SELECT ` + hasRest

	// These repeat the conditions, since the rows were found without holding the writer.
	deleteClosed = `DELETE FROM closed_deliveries WHERE tenant_id = ?1 AND delivery_id = ?2 AND ` + isOld
	deleteStream = `DELETE FROM records WHERE tenant_id = ?1 AND stream = 'delivery/' || ?2 AND version > 0`
	deleteBodies = `DELETE FROM bodies WHERE tenant_id = ? AND event_id = ?`
	deleteGated  = `DELETE FROM gated_events WHERE tenant_id = ? AND event_id = ?`
)

var (
	newestEvent = `SELECT coalesce(max(sequence), 0) FROM events WHERE tenant_id = ?1 AND sequence < ` + fannedOut

	oldEvents = `SELECT event_id, sequence, accepted_at < ?2 FROM events e WHERE tenant_id = ?1 AND sequence > ?5 AND sequence < ` + fannedOut + `
		AND (accepted_at BETWEEN ?2 AND ?4 OR accepted_at < ?2 AND ` + notDelivered + `) ORDER BY sequence LIMIT ?3`

	deleteEvent = `DELETE FROM events AS e WHERE tenant_id = ?1 AND event_id = ?2 AND sequence < ` + fannedOut + ` AND accepted_at < ?3 AND ` + notDelivered
)

// clockErrs is how far ahead of now a plausible time may be: anything later was stamped by a wrong clock.
const clockErrs = 24 * time.Hour

// Purge deletes what is old; see retention.Store.
func (s *Store) Purge(ctx context.Context, before retention.Cutoffs, limit int) (deleted int, err error) {
	tenants, err := all(ctx, s.db, value[tenant.ID], `SELECT tenant_id FROM tenants`)
	if err != nil {
		return 0, err
	}
	handled, err := one(ctx, s.db, value[int64],
		`SELECT coalesce(max(position), 0) FROM consumer_offsets WHERE consumer_group = ? AND topic = ?`, fanout.Group, records.TopicEvents)
	if err != nil {
		return 0, err
	}
	if s.closed.Begin(before.Now) { // what was in the future, or a clock made wrong, has its turn again
		s.passed.Clear()
	}
	look := func(owners []tenant.ID) ([]tenant.ID, error) { return s.haveOld(ctx, owners, before, limit) }
	deleted, err = s.round.Go(tenants, limit, look, func(owner tenant.ID, limit int) (int, error) { return s.purgeTenant(ctx, owner, before, limit) })
	if err != nil {
		return deleted, err
	}
	n, err := s.purgeRecords(ctx, before, handled, limit)
	return deleted + n, err
}

func (s *Store) purgeTenant(ctx context.Context, owner tenant.ID, before retention.Cutoffs, limit int) (deleted int, err error) {
	deliveries, reached, err := s.oldDeliveries(ctx, owner, before, limit)
	if err != nil {
		return 0, err
	}
	events, passed, err := s.oldEvents(ctx, owner, before, limit-len(deliveries))
	if err != nil {
		return 0, err
	}
	rest := restArgs(owner, before, limit)
	more, err := one(ctx, s.db, value[bool], oldRest, rest...)
	if err == nil && (len(deliveries)+len(events) > 0 || more) {
		err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) (err error) {
			deleted, err = tx.purgeOld(ctx, owner, before, deliveries, events, rest)
			return err
		})
	}
	if err == nil {
		s.passed.Store(owner, passed)
		s.closed.Note(reached)
	}
	return deleted, err
}

type oldDelivery struct{ id, eventID string }

// oldDeliveries finds old deliveries, and how far it has looked for them.
func (s *Store) oldDeliveries(ctx context.Context, owner tenant.ID, before retention.Cutoffs, limit int) (old []oldDelivery, reached retention.Reached, err error) {
	reached, err = s.closed.Walk(owner, before, limit, ids.FirstDelivery, func(l retention.Look) (int, string, error) {
		found, err := all(ctx, s.db, func(r *sql.Rows) (d oldDelivery, err error) {
			err = r.Scan(&d.id, &d.eventID)
			return d, err
		}, oldDeliveries, owner, l.Behind, l.Below, stamp(l.Before), l.Dead, l.Limit)
		if err != nil || len(found) == 0 {
			return 0, "", err
		}
		old = append(old, found...)
		return len(found), found[len(found)-1].id, nil
	})
	return old, reached, err
}

// oldEvents finds old events without deliveries, and the sequence up to which there are no others: a later look begins behind it.
func (s *Store) oldEvents(ctx context.Context, owner tenant.ID, before retention.Cutoffs, limit int) (old []string, passed int64, err error) {
	passed = s.passedEvents(owner)
	newest, err := one(ctx, s.db, value[int64], newestEvent, owner)
	if err != nil {
		return nil, 0, err
	}
	type found struct {
		id       string
		sequence int64
		old      bool
	}
	list, err := all(ctx, s.db, func(r *sql.Rows) (f found, err error) { return f, r.Scan(&f.id, &f.sequence, &f.old) },
		oldEvents, owner, stamp(before.Events), limit, stamp(before.Now.Add(clockErrs)), passed)
	if err != nil {
		return nil, 0, err
	}
	next := max(passed, newest) // unless there is a young one, or more than the limit
	if len(list) == limit {
		next = passed
		if limit > 0 {
			next = list[limit-1].sequence
		}
	}
	for _, f := range list {
		if f.old {
			old = append(old, f.id)
		} else {
			next = min(next, f.sequence-1)
		}
	}
	return old, next, nil
}

// purgeOld deletes what was found, as far as it is still old, and the events whose last delivery goes.
func (tx *Tx) purgeOld(ctx context.Context, owner tenant.ID, before retention.Cutoffs, deliveries []oldDelivery, events []string, rest []any) (deleted int, err error) {
	for _, d := range deliveries {
		n, err := tx.purge(ctx, owner, d.id, []string{deleteStream}, deleteClosed, stamp(before.DeadLetters), stamp(before.Attempts))
		if err != nil {
			return 0, err
		}
		deleted += n
		events = append(events, d.eventID)
	}
	for _, id := range events {
		n, err := tx.purge(ctx, owner, id, []string{deleteBodies, deleteGated}, deleteEvent, stamp(before.Events))
		if err != nil {
			return 0, err
		}
		deleted += n
	}
	for _, query := range []string{`DELETE` + oldJobs, `DELETE FROM attempt_metrics WHERE rowid IN (` + oldMetrics + `)`, `DELETE` + oldHours} {
		n, err := tx.Exec(ctx, query, rest...)
		if err != nil {
			return 0, err
		}
		deleted += int(n)
	}
	return deleted, nil
}

// purge deletes a row and, if it was still there, what belongs to it.
func (tx *Tx) purge(ctx context.Context, owner tenant.ID, id string, belongings []string, row string, args ...any) (deleted int, err error) {
	n, err := tx.Exec(ctx, row, append([]any{owner, id}, args...)...)
	if err != nil || n == 0 {
		return 0, err
	}
	return 1, tx.execAll(ctx, []any{owner, id}, belongings...)
}

// purgeRecords deletes old records that belong to no stream.
func (s *Store) purgeRecords(ctx context.Context, before retention.Cutoffs, handled int64, limit int) (deleted int, err error) {
	for _, of := range []struct {
		topic string
		upTo  int64
	}{{records.TopicEvents, handled}, {records.TopicTests, handled}, {records.TopicPoison, math.MaxInt64}} { // poison has no consumer
		last, err := one(ctx, s.db, value[int64], oldRecords, of.topic, of.upTo, stamp(before.Events), limit, stamp(before.Now.Add(clockErrs)))
		if err != nil || last == 0 {
			if err != nil {
				return deleted, fmt.Errorf("look for old records of topic %s: %w", of.topic, err)
			}
			continue
		}
		n, err := s.change(ctx, `DELETE FROM records WHERE topic = ? AND position <= ? AND recorded_at < ?`, of.topic, last, stamp(before.Events))
		deleted += int(n)
		if err != nil {
			return deleted, fmt.Errorf("purge topic %s: %w", of.topic, err)
		}
	}
	return deleted, nil
}

func (tx *Tx) execAll(ctx context.Context, args []any, queries ...string) error {
	for _, query := range queries {
		if _, err := tx.Exec(ctx, query, args...); err != nil {
			return err
		}
	}
	return nil
}
