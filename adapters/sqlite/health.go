package sqlite

import (
	"context"
	"database/sql"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Both write only when the lane's health changes; failures are counted only up to the number that is announced. A subscription that has
// another URL by now is passed over.
const (
	called      = ` AND instr(state, ?3) > 0`
	noteSuccess = `UPDATE subscriptions SET failing_since = NULL, failures = 0
WHERE tenant_id = ?1 AND subscription_id = ?2 AND failing_since IS NOT NULL` + called
	noteFailures = `UPDATE subscriptions SET failing_since = coalesce(failing_since, ?4), failures = failures + ?5
WHERE tenant_id = ?1 AND subscription_id = ?2 AND (failing_since IS NULL OR failures < ?6 AND ?5 > 0)` + called
	selectHealth = `SELECT failing_since, failures FROM subscriptions WHERE tenant_id = ?1 AND subscription_id = ?2` + called
)

// NoteHealth notes since when each lane has done nothing but fail; see dispatch.Store.
func (s *Store) NoteHealth(ctx context.Context, lanes map[dispatch.Lane]dispatch.Ended, now time.Time) (map[dispatch.Lane]dispatch.Health, error) {
	health := map[dispatch.Lane]dispatch.Health{}
	err := s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for lane, ended := range lanes {
			endpoint, err := records.Endpoint(ended.URL)
			if err != nil {
				return err
			}
			if ended.Succeeded {
				if _, err := tx.Exec(ctx, noteSuccess, lane.Tenant, lane.SubscriptionID, endpoint); err != nil {
					return err
				}
				continue
			}
			changed, err := tx.Exec(ctx, noteFailures, lane.Tenant, lane.SubscriptionID, endpoint, stamp(now), ended.Failures, subscription.FailuresUntilFailing)
			if err != nil {
				return err
			}
			found, err := all(ctx, s.db, scanHealth, selectHealth, lane.Tenant, lane.SubscriptionID, endpoint)
			if err != nil {
				return err
			}
			for _, h := range found {
				h.Reached = changed > 0 && h.Failures >= subscription.FailuresUntilFailing
				health[lane] = h
			}
		}
		return nil
	})
	return health, err
}

func scanHealth(r *sql.Rows) (h dispatch.Health, err error) {
	var since sql.NullInt64
	err = r.Scan(&since, &h.Failures)
	h.FailingSince = moment(since)
	return h, err
}

const (
	noteNotice = `INSERT INTO rotation_notices (tenant_id, subscription_id, notice_at) VALUES (?, ?, ?)
ON CONFLICT (tenant_id, subscription_id) DO UPDATE SET notice_at = excluded.notice_at`
	forgetNotice = `DELETE FROM rotation_notices WHERE tenant_id = ? AND subscription_id = ?`
	endNotice    = forgetNotice + ` AND notice_at = ?`
	nextNotices  = `SELECT tenant_id, subscription_id, notice_at FROM rotation_notices
WHERE notice_at > 0 AND (notice_at, tenant_id, subscription_id) > (?, ?, ?) ORDER BY notice_at, tenant_id, subscription_id LIMIT ?`
)

// noteRotation notes that the end of a rotation is to be announced, or forgets it.
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

// NextNotices lists the notices after one, earliest first; see subscriptions.NoticeStore.
func (s *Store) NextNotices(ctx context.Context, after subscriptions.Notice, limit int) ([]subscriptions.Notice, error) {
	return all(ctx, s.db, func(r *sql.Rows) (n subscriptions.Notice, err error) {
		var at sql.NullInt64
		err = r.Scan(&n.Tenant, &n.SubscriptionID, &at)
		n.At = moment(at)
		return n, err
	}, nextNotices, after.At.UnixMicro(), after.Tenant, after.SubscriptionID, limit)
}

// EndNotice forgets a notice.
func (s *Store) EndNotice(ctx context.Context, n subscriptions.Notice) (ended bool, err error) {
	forgotten, err := s.change(ctx, endNotice, n.Tenant, n.SubscriptionID, stamp(n.At))
	return forgotten > 0, err
}
