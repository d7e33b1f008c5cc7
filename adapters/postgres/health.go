package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Both update a row only when its lane's health changes; failures are counted only as far as somebody is to be told of them.
// Lanes are locked in one order.
const (
	noteSuccess = `UPDATE subscriptions SET failing_since = NULL, failures = 0 WHERE failing_since IS NOT NULL
AND (tenant_id, subscription_id) IN (SELECT * FROM unnest($1::text[], $2::text[]))`
	noteFailures = `UPDATE subscriptions s SET failing_since = coalesce(s.failing_since, $4), failures = s.failures + k.failures
FROM unnest($1::text[], $2::text[], $3::int[]) AS k (tenant_id, subscription_id, failures)
WHERE s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id AND (s.failing_since IS NULL OR s.failures < $5 AND k.failures > 0)
RETURNING s.tenant_id, s.subscription_id, s.failing_since, s.failures`
	selectHealth = `SELECT s.tenant_id, s.subscription_id, s.failing_since, s.failures FROM unnest($1::text[], $2::text[]) AS k (tenant_id, subscription_id)
JOIN subscriptions s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id`
)

// NoteHealth records since when each lane has only failed; see dispatch.Store.
func (s *Store) NoteHealth(ctx context.Context, lanes map[dispatch.Lane]dispatch.Ended, now time.Time) (map[dispatch.Lane]dispatch.Health, error) {
	var succeeded, failed []dispatch.Lane
	for lane, ended := range lanes {
		if ended.Succeeded {
			succeeded = append(succeeded, lane)
		} else {
			failed = append(failed, lane)
		}
	}
	slices.SortFunc(succeeded, dispatch.Lane.Compare)
	slices.SortFunc(failed, dispatch.Lane.Compare)
	failures := make([]int32, len(failed))
	for i, lane := range failed {
		failures[i] = int32(lanes[lane].Failures)
	}
	var health map[dispatch.Lane]dispatch.Health
	err := s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		health = map[dispatch.Lane]dispatch.Health{}
		return tx.write(ctx, healthBatch(succeeded, failed, failures, now, health))
	})
	return health, err
}

func healthBatch(succeeded, failed []dispatch.Lane, failures []int32, now time.Time, health map[dispatch.Lane]dispatch.Health) *pgx.Batch {
	b := &pgx.Batch{}
	if len(succeeded) > 0 {
		tenants, ids := laneArrays(succeeded)
		b.Queue(noteSuccess, tenants, ids)
	}
	if len(failed) == 0 {
		return b
	}
	tenants, ids := laneArrays(failed)
	reached := map[dispatch.Lane]bool{}
	b.Queue(noteFailures, tenants, ids, failures, stamp(now), subscription.FailuresUntilFailing).Query(func(rows pgx.Rows) error {
		return eachRow(rows, func() error {
			lane, h, err := scanHealth(rows)
			reached[lane] = h.Failures >= subscription.FailuresUntilFailing
			return err
		})
	})
	b.Queue(selectHealth, tenants, ids).Query(func(rows pgx.Rows) error {
		return eachRow(rows, func() error {
			lane, h, err := scanHealth(rows)
			h.Reached = reached[lane]
			health[lane] = h
			return err
		})
	})
	return b
}

func scanHealth(rows pgx.Rows) (lane dispatch.Lane, h dispatch.Health, err error) {
	var since *int64
	err = rows.Scan(&lane.Tenant, &lane.SubscriptionID, &since, &h.Failures)
	h.FailingSince = moment(since)
	return lane, h, err
}

const (
	noteNotice = `INSERT INTO rotation_notices (tenant_id, subscription_id, notice_at) VALUES ($1, $2, $3)
ON CONFLICT (tenant_id, subscription_id) DO UPDATE SET notice_at = excluded.notice_at`
	forgetNotice = `DELETE FROM rotation_notices WHERE tenant_id = $1 AND subscription_id = $2`
	endNotice    = forgetNotice + ` AND notice_at = $3`
	nextNotices  = `SELECT tenant_id, subscription_id, notice_at FROM rotation_notices
WHERE notice_at > 0 AND notice_at >= $1 AND (notice_at, tenant_id, subscription_id) > ($1, $2, $3)
ORDER BY notice_at, tenant_id, subscription_id LIMIT $4`
)

// noteRotation schedules, or cancels, the notice of a rotation's end.
func (tx *Tx) noteRotation(ctx context.Context, of subscription.Subscription, c subscription.Change) (err error) {
	switch at, concerned := subscription.NoticeOf(c); {
	case !concerned:
	case at.IsZero():
		_, err = tx.Exec(ctx, forgetNotice, of.Tenant, of.ID)
	default:
		_, err = tx.Exec(ctx, noteNotice, of.Tenant, of.ID, stamp(at))
	}
	return err
}

// NextNotices lists the next notices by due time, after a given one; see subscriptions.NoticeStore.
func (s *Store) NextNotices(ctx context.Context, after subscriptions.Notice, limit int) ([]subscriptions.Notice, error) {
	return all(ctx, s.db.from(ctx), func(r pgx.Rows) (n subscriptions.Notice, err error) {
		var at int64
		err = r.Scan(&n.Tenant, &n.SubscriptionID, &at)
		n.At = moment(&at)
		return n, err
	}, nextNotices, after.At.UnixMicro(), after.Tenant, after.SubscriptionID, limit)
}

// EndNotice forgets a notice.
func (s *Store) EndNotice(ctx context.Context, n subscriptions.Notice) (ended bool, err error) {
	forgotten, err := s.change(ctx, endNotice, n.Tenant, n.SubscriptionID, stamp(n.At))
	return forgotten > 0, err
}
