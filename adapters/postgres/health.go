package postgres

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// A row is updated only when its lane's health changes; failures are counted only as far as somebody is to be told of them. A subscription
// that has another URL by now is passed over. One statement notes successes and failures, with the lanes in one order: two processes that
// both had locked those that are well, and then wanted what the other held, would deadlock.
const (
	called    = `s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id AND position(k.endpoint IN s.state) > 0`
	noteEnded = `UPDATE subscriptions s SET failing_since = CASE WHEN NOT k.succeeded THEN coalesce(s.failing_since, $6) END,
    failures = CASE WHEN k.succeeded THEN 0 ELSE s.failures + k.failures END
FROM unnest($1::text[], $2::text[], $3::bytea[], $4::int[], $5::boolean[]) AS k (tenant_id, subscription_id, endpoint, failures, succeeded)
WHERE ` + called + ` AND CASE WHEN k.succeeded THEN s.failing_since IS NOT NULL ELSE s.failing_since IS NULL OR s.failures < $7 AND k.failures > 0 END
RETURNING s.tenant_id, s.subscription_id, s.failing_since, s.failures`
	// holdEnded locks what is about to be changed, or disabled: the first that is disabled takes the lock of all lanes, for which others
	// wait with one of the next already locked.
	holdEnded = `SELECT FROM unnest($1::text[], $2::text[], $3::bytea[], $4::int[], $5::boolean[], $6::boolean[])
    AS k (tenant_id, subscription_id, endpoint, failures, succeeded, gone)
JOIN subscriptions s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id
WHERE k.gone OR position(k.endpoint IN s.state) > 0 AND CASE WHEN k.succeeded THEN s.failing_since IS NOT NULL
    ELSE s.failing_since IS NULL OR s.failures < $7 AND k.failures > 0 OR s.failing_since <= $8 END
ORDER BY s.tenant_id, s.subscription_id FOR NO KEY UPDATE OF s`
	selectHealth = `SELECT s.tenant_id, s.subscription_id, s.failing_since, s.failures
FROM unnest($1::text[], $2::text[], $3::bytea[]) AS k (tenant_id, subscription_id, endpoint) JOIN subscriptions s ON ` + called
)

// NoteHealth records since when each lane has only failed; see dispatch.Store.
func (s *Store) NoteHealth(ctx context.Context, lanes map[dispatch.Lane]dispatch.Ended, now time.Time) (map[dispatch.Lane]dispatch.Health, error) {
	all, ill := endedLanes{}, endedLanes{}
	for _, lane := range slices.SortedFunc(maps.Keys(lanes), dispatch.Lane.Compare) {
		endpoint, err := records.Endpoint(lanes[lane].URL)
		if err != nil {
			return nil, err
		}
		all.add(lane, endpoint, lanes[lane])
		if !lanes[lane].Succeeded {
			ill.add(lane, endpoint, lanes[lane])
		}
	}
	if len(all.tenants) == 0 {
		return nil, nil
	}
	var health map[dispatch.Lane]dispatch.Health
	err := s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		health = map[dispatch.Lane]dispatch.Health{}
		return tx.write(ctx, healthBatch(all, ill, now, health))
	})
	return health, err
}

// endedLanes is what ended in some lanes, by column.
type endedLanes struct {
	tenants, subscriptions []string
	endpoints              [][]byte
	failures               []int32
	succeeded, gone        []bool
}

func (e *endedLanes) add(lane dispatch.Lane, endpoint []byte, ended dispatch.Ended) {
	e.tenants, e.subscriptions = append(e.tenants, string(lane.Tenant)), append(e.subscriptions, lane.SubscriptionID)
	e.endpoints, e.failures = append(e.endpoints, endpoint), append(e.failures, int32(ended.Failures))
	e.succeeded, e.gone = append(e.succeeded, ended.Succeeded), append(e.gone, ended.Gone)
}

func healthBatch(all, ill endedLanes, now time.Time, health map[dispatch.Lane]dispatch.Health) *pgx.Batch {
	b := &pgx.Batch{}
	if len(ill.tenants) > 0 || slices.Contains(all.gone, true) {
		b.Queue(holdEnded, all.tenants, all.subscriptions, all.endpoints, all.failures, all.succeeded, all.gone,
			subscription.FailuresUntilFailing, stamp(now.Add(-subscription.FailingTooLong)))
	}
	reached := map[dispatch.Lane]bool{}
	b.Queue(noteEnded, all.tenants, all.subscriptions, all.endpoints, all.failures, all.succeeded, stamp(now), subscription.FailuresUntilFailing).Query(rowByRow(func(rows pgx.Rows) error {
		lane, h, err := scanHealth(rows)
		reached[lane] = h.Failures >= subscription.FailuresUntilFailing
		return err
	}))
	if len(ill.tenants) == 0 {
		return b
	}
	b.Queue(selectHealth, ill.tenants, ill.subscriptions, ill.endpoints).Query(rowByRow(func(rows pgx.Rows) error {
		lane, h, err := scanHealth(rows)
		h.Reached = reached[lane]
		health[lane] = h
		return err
	}))
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
