package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Both update a row only when its lane's health changes; failures are counted only as far as somebody is to be told of them.
// Lanes are locked in one order. A subscription that has another URL by now is passed over.
const (
	called      = `s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id AND position(k.endpoint IN s.state) > 0`
	noteSuccess = `UPDATE subscriptions s SET failing_since = NULL, failures = 0
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS k (tenant_id, subscription_id, endpoint)
WHERE s.failing_since IS NOT NULL AND ` + called
	noteFailures = `UPDATE subscriptions s SET failing_since = coalesce(s.failing_since, $5), failures = s.failures + k.failures
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::int[]) AS k (tenant_id, subscription_id, endpoint, failures)
WHERE ` + called + ` AND (s.failing_since IS NULL OR s.failures < $6 AND k.failures > 0)
RETURNING s.tenant_id, s.subscription_id, s.failing_since, s.failures`
	selectHealth = `SELECT s.tenant_id, s.subscription_id, s.failing_since, s.failures
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS k (tenant_id, subscription_id, endpoint) JOIN subscriptions s ON ` + called
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
	well, err := ended(lanes, succeeded)
	if err != nil {
		return nil, err
	}
	ill, err := ended(lanes, failed)
	if err != nil {
		return nil, err
	}
	var health map[dispatch.Lane]dispatch.Health
	err = s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		health = map[dispatch.Lane]dispatch.Health{}
		return tx.write(ctx, healthBatch(well, ill, now, health))
	})
	return health, err
}

// endedLanes is what ended in some lanes, by column.
type endedLanes struct {
	tenants, subscriptions []string
	endpoints              [][]byte
	failures               []int32
}

func ended(of map[dispatch.Lane]dispatch.Ended, lanes []dispatch.Lane) (e endedLanes, err error) {
	slices.SortFunc(lanes, dispatch.Lane.Compare)
	e.tenants, e.subscriptions = laneArrays(lanes)
	for _, lane := range lanes {
		endpoint, err := records.Endpoint(of[lane].URL)
		if err != nil {
			return e, err
		}
		e.endpoints, e.failures = append(e.endpoints, endpoint), append(e.failures, int32(of[lane].Failures))
	}
	return e, nil
}

func healthBatch(well, ill endedLanes, now time.Time, health map[dispatch.Lane]dispatch.Health) *pgx.Batch {
	b := &pgx.Batch{}
	if len(well.tenants) > 0 {
		b.Queue(noteSuccess, well.tenants, well.subscriptions, well.endpoints)
	}
	if len(ill.tenants) == 0 {
		return b
	}
	reached := map[dispatch.Lane]bool{}
	b.Queue(noteFailures, ill.tenants, ill.subscriptions, ill.endpoints, ill.failures, stamp(now), subscription.FailuresUntilFailing).Query(func(rows pgx.Rows) error {
		return eachRow(rows, func() error {
			lane, h, err := scanHealth(rows)
			reached[lane] = h.Failures >= subscription.FailuresUntilFailing
			return err
		})
	})
	b.Queue(selectHealth, ill.tenants, ill.subscriptions, ill.endpoints).Query(func(rows pgx.Rows) error {
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
