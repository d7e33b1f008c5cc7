package sqlite

import (
	"context"
	"database/sql"
	"strconv"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// partOf is what an index has of a lane, up to one more than is counted.
func partOf(number int, status, from string) string {
	return `SELECT * FROM (SELECT ` + status + ` AS status, ` + strconv.Itoa(number) + ` AS part FROM ` + from + ` AND tenant_id = ?1 AND subscription_id = ?2 LIMIT ?3)`
}

// countDeliveries says of each part whether it was cut off. What the index alone tells of is not looked up.
var countDeliveries = `SELECT status, count(*), sum(count(*)) OVER (PARTITION BY part) >= ?3 FROM (
	` + partOf(1, `status`, `open_deliveries INDEXED BY open_deliveries_ready WHERE lease IS NULL AND due_at IS NOT NULL AND waiting = 0`) + `
	UNION ALL ` + partOf(2, `status`, `open_deliveries INDEXED BY open_deliveries_waiting_in_lane WHERE waiting = 1`) + `
	UNION ALL ` + partOf(3, `'`+string(delivery.StatusParked)+`'`, `open_deliveries INDEXED BY open_deliveries_parked WHERE due_at IS NULL`) + `
	UNION ALL ` + partOf(4, `'`+string(delivery.StatusDelivering)+`'`, `open_deliveries INDEXED BY open_deliveries_by_lease WHERE lease IS NOT NULL`) + `
	UNION ALL ` + partOf(5, `'`+string(delivery.StatusDeadLetter)+`'`, `closed_deliveries INDEXED BY closed_deliveries_dead WHERE status = '`+string(delivery.StatusDeadLetter)+`'`) + `
) GROUP BY part, status`

// CountDeliveries counts the lane's deliveries part by part; see queries.CountReader.
func (s *Store) CountDeliveries(ctx context.Context, lane dispatch.Lane, upTo int) (queries.Counts, error) {
	counts := queries.Counts{}
	err := s.db.forUsers().query(ctx, func(r *sql.Rows) error {
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
