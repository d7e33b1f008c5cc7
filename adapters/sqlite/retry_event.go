package sqlite

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// HoldEvent is Event: the only writer is held already.
func (s *Store) HoldEvent(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	return s.Event(ctx, owner, id)
}

const (
	takeBackTally = `UPDATE disposition_hours SET events = events - 1, expected = expected - ?, not_matched = not_matched - ?,
	feature_gated = feature_gated - ?, set_aside = set_aside - ? WHERE tenant_id = ? AND hour = ?`
	moveEvent = `UPDATE events SET sequence = ?, set_aside = NULL, retried = ? WHERE tenant_id = ? AND event_id = ?`
)

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
		if _, err := tx.Exec(ctx, `DELETE FROM gated_events WHERE tenant_id = ? AND event_id = ?`, e.Tenant, e.ID); err != nil {
			return fmt.Errorf("forget what was gated of %s: %w", e.ID, err)
		}
		counted := e.SetAside
		if _, err := tx.Exec(ctx, takeBackTally, counted.Expected(), counted.NotMatched, counted.FeatureGated, counted.SetAside,
			e.Tenant, stamp(reconciliation.HourOf(e.AcceptedAt))); err != nil {
			return fmt.Errorf("take back what was counted of %s: %w", e.ID, err)
		}
		if err := tx.append(ctx, named); err != nil {
			return err
		}
		position, err := tx.lastPosition(ctx)
		if err != nil {
			return fmt.Errorf("read the log's head: %w", err)
		}
		if _, err := tx.Exec(ctx, moveEvent, position*records.MaxEventsPerRecord, by, e.Tenant, e.ID); err != nil {
			return fmt.Errorf("move event %s: %w", e.ID, err)
		}
		return nil
	})
}

// CountSetAside counts the events of all tenants that fan-out could not handle.
func (s *Store) CountSetAside(ctx context.Context) (int, error) {
	return one(ctx, s.db, value[int], `SELECT count(*) FROM events INDEXED BY events_set_aside WHERE set_aside IS NOT NULL`)
}
