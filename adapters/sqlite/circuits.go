package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	noteCircuit = `INSERT INTO circuits (tenant_id, subscription_id, incarnation, since, open_until, attempts) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET since = excluded.since, open_until = excluded.open_until, attempts = excluded.attempts`

	dropCircuit = `DELETE FROM circuits WHERE tenant_id = ? AND subscription_id = ? AND incarnation = ?`

	// If processes disagree, the one that waits longest comes last and wins.
	findCircuits = `SELECT c.subscription_id, c.since, c.open_until, c.attempts FROM json_each(?1) k
CROSS JOIN circuits c ON c.tenant_id = ?2 AND c.subscription_id = k.value
JOIN incarnations i ON i.incarnation = c.incarnation AND i.heartbeat_at >= ?3
ORDER BY c.open_until, c.attempts DESC`
)

// NoteCircuits replaces what the incarnation reported of these lanes.
func (s *Store) NoteCircuits(ctx context.Context, incarnation string, reports []dispatch.CircuitReport) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) (err error) {
		for _, r := range reports {
			if r.Report == (circuit.Report{}) {
				_, err = tx.Exec(ctx, dropCircuit, r.Tenant, r.SubscriptionID, incarnation)
			} else {
				_, err = tx.Exec(ctx, noteCircuit, r.Tenant, r.SubscriptionID, incarnation, stamp(r.Since), stamp(r.Until), r.Window)
			}
			if err != nil {
				return fmt.Errorf("note the circuit of %s: %w", r.SubscriptionID, err)
			}
		}
		return nil
	})
}

// Circuits reports the tenant's receivers that are spared; see rest.CircuitReader.
func (s *Store) Circuits(ctx context.Context, owner tenant.ID, subscriptionIDs []string, heartbeatSince time.Time) (map[string]circuit.Report, error) {
	wanted, err := list(subscriptionIDs)
	if err != nil {
		return nil, err
	}
	found := map[string]circuit.Report{}
	err = s.db.query(ctx, func(r *sql.Rows) error {
		var id string
		var report circuit.Report
		var since, until sql.NullInt64
		err := r.Scan(&id, &since, &until, &report.Window)
		report.Since, report.Until = moment(since), moment(until)
		found[id] = report
		return err
	}, findCircuits, wanted, owner, stamp(heartbeatSince))
	return found, err
}
