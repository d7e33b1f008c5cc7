package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// haveOld names those of the tenants of which purgeTenant may find something to delete. Each search ends with the first row that it meets; as
// EXISTS the planner might make it a hash of a whole table.
var haveOld = `SELECT k.tenant_id FROM unnest($1::text[], $2::text[], $3::text[]) AS k (tenant_id, dead, others) WHERE coalesce(
    (SELECT true FROM disposition_hours WHERE tenant_id = k.tenant_id AND hour < $4 LIMIT 1),
    (SELECT true FROM closed_deliveries WHERE week = 0 AND tenant_id = k.tenant_id AND delivery_id > k.dead AND delivery_id < $5 ORDER BY delivery_id LIMIT 1),
    (SELECT true FROM closed_deliveries WHERE week = 0 AND tenant_id = k.tenant_id AND delivery_id > k.others AND delivery_id < $6 ORDER BY delivery_id LIMIT 1),
    (SELECT true FROM events e WHERE week = 0 AND tenant_id = k.tenant_id AND accepted_at < $7 AND ` + notDelivered + ` LIMIT 1),
    (SELECT true FROM jobs WHERE tenant_id = k.tenant_id AND job_id < $8 AND turn_at IS NULL LIMIT 1),
    (SELECT true FROM attempt_metrics WHERE tenant_id = k.tenant_id AND generation = ` + liveMetrics + ` AND minute < $9 LIMIT 1),
    (SELECT true FROM attempt_metrics WHERE tenant_id = k.tenant_id AND generation = ` + newestMetrics + ` AND minute < $9 LIMIT 1),
    (SELECT true FROM attempt_metrics WHERE tenant_id = k.tenant_id AND generation < ` + liveMetrics + ` LIMIT 1),
    (SELECT true FROM attempt_metrics WHERE tenant_id = k.tenant_id AND generation > ` + liveMetrics + ` AND generation < ` + newestMetrics + ` LIMIT 1))`

// haveOld looks without a transaction for each tenant: nearly all of them have nothing old, each time.
func (s *Store) haveOld(ctx context.Context, owners []tenant.ID, before retention.Cutoffs) ([]tenant.ID, error) {
	dead, others := make([]string, len(owners)), make([]string, len(owners))
	for i, owner := range owners {
		dead[i], others[i] = s.closed.Behind(retention.Closed{Owner: owner, Dead: true}), s.closed.Behind(retention.Closed{Owner: owner})
	}
	var old []tenant.ID
	err := s.db.from(ctx).query(ctx, func(r pgx.Rows) error {
		var owner tenant.ID
		err := r.Scan(&owner)
		old = append(old, owner)
		return err
	}, haveOld, texts(owners), dead, others, stamp(before.Counted()), ids.FirstDelivery(before.DeadLetters), ids.FirstDelivery(before.Attempts),
		stamp(before.Events), ids.First("job_", before.Attempts), metrics.MinuteOf(before.Attempts))
	if err != nil {
		return nil, fmt.Errorf("look for what is old of %d tenants: %w", len(owners), err)
	}
	return old, nil
}
