package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
)

// afterAll sorts behind every ID.
const afterAll = `~`

// isReady is the condition of the partial index of what is ready.
const isReady = `lease IS NULL AND due_at IS NOT NULL AND NOT waiting`

// maxFallen bounds how many fall due in one look.
const maxFallen = 500

// makeReady moves what is due from waiting to ready. What another process is making ready right now is skipped.
const makeReady = `
UPDATE open_deliveries o SET waiting = false
FROM (SELECT tenant_id, subscription_id, delivery_id FROM open_deliveries WHERE waiting AND due_at <= $1
      ORDER BY due_at, delivery_id LIMIT $2 FOR UPDATE SKIP LOCKED) s
WHERE ` + sameDelivery + `
RETURNING o.tenant_id, o.subscription_id, o.due_at`

const nextDue = `SELECT due_at FROM open_deliveries WHERE waiting ORDER BY due_at, delivery_id LIMIT 1`

// readyLanes walks the index over the lanes between two subscriptions, from one lane to the next, so its cost does not depend on how long
// each lane is. It stops after as many lanes as are asked for.
const readyLanes = `
WITH RECURSIVE lane AS (
    (SELECT tenant_id, subscription_id FROM open_deliveries WHERE ` + isReady + ` AND subscription_id > $1 AND subscription_id < $2
     ORDER BY subscription_id, due_at, delivery_id LIMIT 1)
    UNION ALL
    SELECT next.* FROM lane CROSS JOIN LATERAL (
        SELECT o.tenant_id, o.subscription_id FROM open_deliveries o WHERE ` + isReady + ` AND o.subscription_id > lane.subscription_id AND o.subscription_id < $2
        ORDER BY o.subscription_id, o.due_at, o.delivery_id LIMIT 1) next
)
SELECT tenant_id, subscription_id FROM lane LIMIT $3`

// readyInLane looks at one lane from its head on.
const readyInLane = `SELECT tenant_id, subscription_id FROM open_deliveries WHERE ` + isReady + ` AND subscription_id = $1 AND due_at >= $2
ORDER BY due_at, delivery_id LIMIT 1`

// Look makes ready what has fallen due, and says which lanes have something ready; see dispatch.Queue.
func (s *Store) Look(ctx context.Context, request dispatch.LookRequest) (answer dispatch.LookAnswer, err error) {
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		answer = dispatch.LookAnswer{}
		b := &pgx.Batch{}
		b.Queue(makeReady, stamp(request.Now), maxFallen).Query(rowByRow(func(rows pgx.Rows) error { return s.scanFallen(rows, &answer.Fallen) }))
		b.Queue(nextDue).Query(rowByRow(func(rows pgx.Rows) error {
			var due int64
			err := rows.Scan(&due)
			answer.NextDue = moment(&due)
			return err
		}))
		w := laneWalk{began: time.Now()}
		if request.Lanes > 0 {
			w.queue(b, request, s.heads.longFrom(request.After))
		}
		err := tx.write(ctx, b)
		answer.Ready = w.found[:min(len(w.found), request.Lanes)]
		w.moveHeads(&s.heads)
		return err
	})
	return answer, err
}

func (s *Store) scanFallen(rows pgx.Rows, into *[]dispatch.Lane) error {
	var lane dispatch.Lane
	var due int64
	err := rows.Scan(&lane.Tenant, &lane.SubscriptionID, &due)
	s.heads.back(lane, due)
	*into = append(*into, lane)
	return err
}

// laneWalk is one walk over the lanes. Long ones are looked at from their heads, the others in the gaps between them.
type laneWalk struct {
	began time.Time
	found []dispatch.Lane
	empty []dispatch.Lane // searched from their beginning in vain
}

func (w *laneWalk) queue(b *pgx.Batch, request dispatch.LookRequest, long []longHead[dispatch.Lane]) {
	after := request.After
	for _, l := range long {
		b.Queue(readyLanes, after, l.of.SubscriptionID, request.Lanes).Query(rowByRow(w.scan))
		from, start := l.from(w.began)
		b.Queue(readyInLane, l.of.SubscriptionID, from).Query(func(rows pgx.Rows) error {
			before := len(w.found)
			if err := rowByRow(w.scan)(rows); err != nil {
				return err
			}
			if start && len(w.found) == before {
				w.empty = append(w.empty, l.of)
			}
			return nil
		})
		after = l.of.SubscriptionID
	}
	b.Queue(readyLanes, after, afterAll, request.Lanes).Query(rowByRow(w.scan))
}

func (w *laneWalk) scan(rows pgx.Rows) error {
	var lane dispatch.Lane
	err := rows.Scan(&lane.Tenant, &lane.SubscriptionID)
	w.found = append(w.found, lane)
	return err
}

// moveHeads makes an empty long lane be searched from its beginning as seldom as a lease would. Where there is something, the lease
// that follows finds it.
func (w *laneWalk) moveHeads(h *laneHeads) {
	now := time.Now()
	for _, lane := range w.empty {
		h.searched(lane, now, now.Sub(w.began))
	}
}
