package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// haveOld names those of the tenants of which purgeTenant may find something to delete, or to pass: among as many events as it looks at, too, one
// that is not young.
var haveOld = `WITH k AS (SELECT value ->> 0 AS owner, value ->> 1 AS dead, value ->> 2 AS others, value ->> 3 AS passed FROM json_each(?1))
SELECT owner FROM k WHERE EXISTS (SELECT 1 FROM closed_deliveries WHERE tenant_id = k.owner AND delivery_id > k.dead AND delivery_id < ?6)
	OR EXISTS (SELECT 1 FROM closed_deliveries WHERE tenant_id = k.owner AND delivery_id > k.others AND delivery_id < ?7)
	OR EXISTS (SELECT 1 FROM (SELECT accepted_at FROM events WHERE tenant_id = k.owner AND sequence > k.passed ORDER BY sequence LIMIT ?3)
		WHERE accepted_at NOT BETWEEN ?8 AND ?9)
	OR ` + strings.ReplaceAll(hasRest, "?1", "k.owner")

// haveOld asks once for many tenants, since nearly all of them have nothing old, each time.
func (s *Store) haveOld(ctx context.Context, owners []tenant.ID, before retention.Cutoffs, limit int) ([]tenant.ID, error) {
	rows := make([][4]any, len(owners))
	for i, owner := range owners {
		dead, others := retention.Closed{Owner: owner, Dead: true}, retention.Closed{Owner: owner}
		rows[i] = [4]any{owner, s.closed.Behind(dead), s.closed.Behind(others), s.passedEvents(owner)}
	}
	text, err := list(rows)
	if err != nil {
		return nil, err
	}
	old, err := all(ctx, s.db, value[tenant.ID], haveOld, append(restArgs(tenant.ID(text), before, limit),
		ids.FirstDelivery(before.DeadLetters), ids.FirstDelivery(before.Attempts), stamp(before.Events), stamp(before.Now.Add(clockErrs)))...)
	if err != nil {
		return nil, fmt.Errorf("look for what is old of %d tenants: %w", len(owners), err)
	}
	return old, nil
}

// restArgs are the arguments of hasRest.
func restArgs(owner tenant.ID, before retention.Cutoffs, limit int) []any {
	return []any{owner, metrics.MinuteOf(before.Attempts), limit, ids.First("job_", before.Attempts), stamp(before.Counted())}
}

// passedEvents is the sequence up to which retention has looked for the tenant's old events.
func (s *Store) passedEvents(owner tenant.ID) int64 {
	known, _ := s.passed.Load(owner)
	passed, _ := known.(int64)
	return passed
}
