package postgres

import (
	"context"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// partOfLane is what one of the queue's partial indexes has of a lane, up to one more than is counted. Like sweeps, it searches a lane by its
// subscription alone, which no other index serves, and in the index's order, or the planner would gather all that there is before it stops. So it
// would where a condition is not the index's: without statistics that leaves one row, which is then cheap to sort.
func partOfLane(number int, condition, order string) string {
	return `(SELECT tenant_id, status, ` + strconv.Itoa(number) + ` AS part FROM open_deliveries WHERE subscription_id = $2 AND ` + condition + ` ORDER BY ` + order + ` LIMIT $3)`
}

// countDeliveries says of each part whether it was cut off. The part of week 0 has all dead letters, and is named since week = 0 would be a
// further condition.
var countDeliveries = `SELECT status, count(*), sum(count(*)) OVER (PARTITION BY part) >= $3 FROM (
    ` + partOfLane(1, isReady, "due_at, delivery_id") + `
    UNION ALL ` + partOfLane(2, "waiting", "delivery_id") + `
    UNION ALL ` + partOfLane(3, "due_at IS NULL", "delivery_id") + `
    UNION ALL (SELECT tenant_id, '` + string(delivery.StatusDelivering) + `', 4 FROM (` + heldRows + `) AS held LIMIT $3)
    UNION ALL (SELECT tenant_id, status, 5 FROM closed_deliveries_kept
        WHERE subscription_id = $2 AND status = '` + string(delivery.StatusDeadLetter) + `' ORDER BY delivery_id LIMIT $3)
) AS counted WHERE tenant_id = $1 GROUP BY part, status`

// CountDeliveries counts the lane's deliveries part by part; see queries.CountReader.
func (s *Store) CountDeliveries(ctx context.Context, lane dispatch.Lane, upTo int) (queries.Counts, error) {
	counts := queries.Counts{}
	err := s.db.forUsers(ctx).query(ctx, func(r pgx.Rows) error {
		var status delivery.Status
		var number int
		var more bool
		if err := r.Scan(&status, &number, &more); err != nil {
			return err
		}
		counts.Add(status, number, more, upTo)
		return nil
	}, countDeliveries, lane.Tenant, lane.SubscriptionID, int64(upTo)+1)
	return counts, err
}
