package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	noteCircuits = `INSERT INTO circuits (tenant_id, subscription_id, incarnation, since, open_until, attempts)
SELECT tenant_id, subscription_id, $3, since, open_until, attempts
FROM unnest($1::text[], $2::text[], $4::bigint[], $5::bigint[], $6::int[]) AS c (tenant_id, subscription_id, since, open_until, attempts)
ON CONFLICT (tenant_id, subscription_id, incarnation)
DO UPDATE SET since = excluded.since, open_until = excluded.open_until, attempts = excluded.attempts`

	dropCircuits = `DELETE FROM circuits c USING unnest($1::text[], $2::text[]) AS d (tenant_id, subscription_id)
WHERE c.tenant_id = d.tenant_id AND c.subscription_id = d.subscription_id AND c.incarnation = $3`

	// When processes disagree, the report that waits longest comes last and wins.
	findCircuits = `SELECT c.subscription_id, c.since, c.open_until, c.attempts FROM circuits c
JOIN incarnations i ON i.incarnation = c.incarnation AND i.heartbeat_at >= $3
WHERE c.tenant_id = $1 AND c.subscription_id = ANY($2::text[])
ORDER BY c.open_until NULLS FIRST, c.attempts DESC`

	// forgetCircuits deletes the reports of processes that are themselves forgotten.
	forgetCircuits = `DELETE FROM circuits c WHERE NOT EXISTS (SELECT 1 FROM incarnations i WHERE i.incarnation = c.incarnation)`
)

// NoteCircuits replaces what the incarnation has reported about these lanes.
func (s *Store) NoteCircuits(ctx context.Context, incarnation string, reports []dispatch.CircuitReport) error {
	var spared, well []dispatch.Lane
	var since, until []*int64
	var attempts []int32
	for _, r := range reports {
		if r.Report == (circuit.Report{}) {
			well = append(well, r.Lane)
			continue
		}
		spared, since, until, attempts = append(spared, r.Lane), append(since, stamp(r.Since)), append(until, stamp(r.Until)), append(attempts, int32(r.Window))
	}
	b := &pgx.Batch{}
	if len(spared) > 0 {
		tenants, ids := laneArrays(spared)
		b.Queue(noteCircuits, tenants, ids, incarnation, since, until, attempts)
	}
	if len(well) > 0 {
		tenants, ids := laneArrays(well)
		b.Queue(dropCircuits, tenants, ids, incarnation)
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error { return tx.write(ctx, b) })
}

// Circuits reports which of the tenant's receivers are being spared; see rest.CircuitReader.
func (s *Store) Circuits(ctx context.Context, owner tenant.ID, subscriptionIDs []string, heartbeatSince time.Time) (map[string]circuit.Report, error) {
	found := map[string]circuit.Report{}
	err := s.db.from(ctx).query(ctx, func(r pgx.Rows) error {
		var id string
		var report circuit.Report
		var since, until *int64
		err := r.Scan(&id, &since, &until, &report.Window)
		report.Since, report.Until = moment(since), moment(until)
		found[id] = report
		return err
	}, findCircuits, owner, subscriptionIDs, stamp(heartbeatSince))
	return found, err
}
