package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	holdEvent     = selectEvent + ` FOR UPDATE`
	forgetGated   = `DELETE FROM gated_events WHERE tenant_id = $1 AND event_id = $2`
	takeBackTally = `UPDATE disposition_hours SET events = events - 1, expected = expected - $1, not_matched = not_matched - $2,
    feature_gated = feature_gated - $3, set_aside = set_aside - $4 WHERE tenant_id = $5 AND hour = $6`
	countSetAside = `SELECT count(*) FROM events WHERE set_aside IS NOT NULL`
)

// HoldEvent is Event, and locks it until the transaction ends.
func (s *Store) HoldEvent(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	from, err := s.db.fromLog(ctx, anyEvent)
	if err != nil {
		return queries.Event{}, err
	}
	e, err := one(ctx, from, scanEvent, holdEvent, owner, id)
	return e, notFound(err, "event")
}

// FanOutAgain appends a record that names the event again; see queries.EventRetryStore.
func (s *Store) FanOutAgain(ctx context.Context, e queries.Event, retried queries.Retried) error {
	named, err := records.OfRetried(e, retried)
	if err != nil {
		return err
	}
	by, err := json.Marshal(retried)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		b := &pgx.Batch{}
		b.Queue(forgetGated, e.Tenant, e.ID)
		counted := e.SetAside
		b.Queue(takeBackTally, counted.Expected(), counted.NotMatched, counted.FeatureGated, counted.SetAside, e.Tenant, stamp(reconciliation.HourOf(e.AcceptedAt)))
		if err := tx.write(ctx, b); err != nil {
			return fmt.Errorf("take back what was counted of %s: %w", e.ID, err)
		}
		return tx.append(ctx, appended{Record: named.Packed(), again: &againRow{e.Tenant, e.ID, by}})
	})
}

// againRow is an event to be moved to the record that names it again.
type againRow struct {
	tenant  tenant.ID
	eventID string
	retried []byte
}

// insertAgain writes the record, whose position becomes the event's. The event moves to week 0, so that it stays until it is fanned out.
var insertAgain = `WITH named AS (
    INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
    VALUES (nextval('log_numbers'), $1, '', '', 0, $2, $3, $4, $5, $6) RETURNING position
)
UPDATE events SET sequence = named.position * ` + perRecord + `, week = 0, set_aside = NULL, retried = $7 FROM named WHERE tenant_id = $8 AND event_id = $9`

func queueAgain(b *pgx.Batch, a appended) {
	b.Queue(insertAgain, a.Topic, a.Type, a.Data, a.Metadata, a.At.UnixMicro(), a.week(),
		a.again.retried, a.again.tenant, a.again.eventID)
}

// CountSetAside counts the events of all tenants that fan-out could not handle.
func (s *Store) CountSetAside(ctx context.Context) (int, error) {
	return one(ctx, s.db.from(ctx), value[int], countSetAside)
}
