package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// anySubscription picks pending records of subscriptions.
func anySubscription(a appended) bool { return a.Topic == records.TopicSubscriptions }

// A new stream has no row yet; a later change requires the version that it was decided on.
const (
	beginSubscription = `INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state)
VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`
	moveSubscription = `UPDATE subscriptions SET status = $3, version = $4, max_in_flight = $5, state = $6,
    failing_since = CASE WHEN $8 THEN NULL ELSE failing_since END, failures = CASE WHEN $8 THEN 0 ELSE failures END
WHERE tenant_id = $1 AND subscription_id = $2 AND version = $7`
	replaceSweep = `INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, subscription_id) DO UPDATE SET action = excluded.action, turn_at = excluded.turn_at
WHERE NOT ($5 AND sweeps.action = '` + string(sweep.Skip) + `')`
	forgetSecrets = `DELETE FROM secrets WHERE tenant_id = $1 AND subscription_id = $2 AND NOT secret_id = ANY($3)`
)

// AppendSubscription appends changes with the state they lead to; see subscriptions.Store.
func (s *Store) AppendSubscription(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		state, err := json.Marshal(after)
		if err != nil {
			return err
		}
		save, args := beginSubscription, []any{after.Tenant, after.ID, after.Status, after.Version, after.MaxInFlight, state}
		if before.Version > 0 {
			save, args = moveSubscription, append(args, before.Version, subscription.BeginsAnew(before, after))
		}
		n, err := tx.Exec(ctx, save, args...)
		if err != nil {
			return fmt.Errorf("save subscription %s: %w", after.ID, err)
		}
		if n == 0 {
			return subscriptions.ErrMoved
		}
		// The row first, then the lock, as where an outcome disables a subscription: in different orders the two would deadlock.
		if err := tx.moveLanes(ctx); err != nil {
			return err
		}
		for _, topic := range wakeup.SubscriptionTopics(dispatch.LaneOfSubscription(&after), changes) {
			tx.Appended(topic)
		}
		appended, err := records.OfSubscription(after, before.Version, changes, by)
		if err != nil {
			return err
		}
		if err := tx.appendPacked(ctx, appended...); err != nil {
			return err
		}
		for _, c := range changes {
			if err := tx.follow(ctx, before, after, c); err != nil {
				return err
			}
		}
		return nil
	})
}

// follow applies a change's side effects: it notes the end of a rotation and a sweep, and deletes secrets that have ended.
func (tx *Tx) follow(ctx context.Context, before, after subscription.Subscription, c subscription.Change) error {
	if err := tx.noteRotation(ctx, after, c); err != nil {
		return err
	}
	if kept, concerned := before.Secrets.KeptAfter(c); concerned {
		if _, err := tx.Exec(ctx, forgetSecrets, after.Tenant, after.ID, texts(kept)); err != nil {
			return err
		}
	}
	action, needed := sweep.ActionFor(c)
	if !needed {
		return nil
	}
	tx.QueueChanged()
	noted, err := tx.Exec(ctx, replaceSweep, after.Tenant, after.ID, action, stamp(after.UpdatedAt), sweep.WaitsForSkip(c))
	if err == nil && noted == 0 {
		return sweep.ErrSkipping
	}
	return err
}

// CurrentSubscription is the state that the last change left; see subscriptions.Store.
func (s *Store) CurrentSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return s.subscriptionBy(ctx, currentState, lane)
}

// SubscriptionToChange is the same, and locks it; see subscriptions.Store.
func (s *Store) SubscriptionToChange(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return s.subscriptionBy(ctx, stateToChange, lane)
}

const (
	currentState  = `SELECT state FROM subscriptions WHERE tenant_id = $1 AND subscription_id = $2`
	stateToChange = currentState + ` FOR NO KEY UPDATE`
)

func (s *Store) subscriptionBy(ctx context.Context, query string, lane dispatch.Lane) (subscription.Subscription, error) {
	state, err := one(ctx, s.db.forUsers(ctx), value[[]byte], query, lane.Tenant, lane.SubscriptionID)
	if err != nil {
		return subscription.Subscription{}, fmt.Errorf("read subscription %s: %w", lane.SubscriptionID, notFound(err, "subscription"))
	}
	return s.StoredSubscription(ctx, lane, state)
}

const (
	countSubscriptions = `SELECT count(*) FROM subscriptions WHERE tenant_id = $1 AND status <> 'deleted'`
	listSubscriptions  = `SELECT tenant_id, subscription_id, state FROM subscriptions WHERE tenant_id = $1 AND subscription_id < $2 AND status <> 'deleted'
ORDER BY subscription_id DESC LIMIT $3`
)

// CountSubscriptions counts those that were not deleted; see subscriptions.Store.
func (s *Store) CountSubscriptions(ctx context.Context, owner tenant.ID) (int, error) {
	if tx, inTx := ctx.Value(txKey{}).(*Tx); inTx {
		if err := tx.moveLanes(ctx); err != nil {
			return 0, err
		}
	}
	return one(ctx, s.db.from(ctx), value[int], countSubscriptions, owner)
}

// ListSubscriptions lists those that were not deleted, newest first.
func (s *Store) ListSubscriptions(ctx context.Context, owner tenant.ID, before string, limit int) ([]subscription.Subscription, error) {
	if before == "" {
		before = "~" // behind every ID
	}
	stored, err := all(ctx, s.db.forUsers(ctx), scanStored, listSubscriptions, owner, before, limit)
	if err != nil {
		return nil, err
	}
	return s.StoredSubscriptions(ctx, stored)
}

func scanStored(r pgx.Rows) (s records.StoredState, err error) {
	err = r.Scan(&s.Tenant, &s.SubscriptionID, &s.State)
	return s, err
}

const subscriptionChanges = `SELECT ` + recordColumns + ` FROM records
WHERE week = 0 AND topic = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4`

// Governing reads the subscriptions topic; see fanout.Store.
func (s *Store) Governing(ctx context.Context, after, upTo int64, limit int, owners []tenant.ID) (changes []fanout.SubscriptionChange, deferring map[tenant.ID]bool, err error) {
	from, err := s.db.fromLog(ctx, anySubscription)
	if err != nil {
		return nil, nil, err
	}
	b, list := &pgx.Batch{}, []records.Record(nil)
	b.Queue(subscriptionChanges, records.TopicSubscriptions, after, upTo, limit).Query(rowByRow(func(rows pgx.Rows) error {
		r, err := scanRecord(rows)
		list = append(list, r)
		return err
	}))
	deferring = s.queueDeferring(b, owners)
	if err := from.send(ctx, b); err != nil {
		return nil, nil, err
	}
	return records.SubscriptionChanges(list), deferring, nil
}

// What is stored is read before what has changed since: a change that comes in between is after the position.
const (
	liveStates   = `SELECT tenant_id, subscription_id, state FROM subscriptions WHERE tenant_id = ANY($1) AND status <> 'deleted'`
	changedSince = `SELECT tenant_id, stream FROM records WHERE week = 0 AND topic = $1 AND position >= $2 ORDER BY position LIMIT $3`
	streamsOf    = `SELECT r.* FROM unnest($1::text[], $2::text[]) AS k (tenant_id, stream) CROSS JOIN LATERAL (
    SELECT ` + recordColumns + ` FROM records
    WHERE week = 0 AND tenant_id = ANY(ARRAY[k.tenant_id]) AND stream = k.stream AND version > 0 AND position < $3
) r ORDER BY r.tenant_id, r.stream, r.version`
	allStreams = `SELECT ` + recordColumns + ` FROM records
WHERE week = 0 AND tenant_id = ANY($1) AND stream >= 'subscription/' AND stream < 'subscription0' AND version > 0 AND position < $2
ORDER BY tenant_id, stream, version`
)

// SubscriptionsAt reads the tenants' subscriptions, and folds the streams (up to the position, exclusive) of those that have changed
// since; see fanout.Store.
func (s *Store) SubscriptionsAt(ctx context.Context, owners []tenant.ID, position int64) ([]subscription.Subscription, []dispatch.Lane, error) {
	from, err := s.db.fromLog(ctx, anySubscription)
	if err != nil {
		return nil, nil, err
	}
	var stored []records.StoredState
	var changed []dispatch.Lane
	b := &pgx.Batch{}
	b.Queue(liveStates, texts(owners)).Query(rowByRow(func(r pgx.Rows) error {
		is, err := scanStored(r)
		stored = append(stored, is)
		return err
	}))
	b.Queue(changedSince, records.TopicSubscriptions, position, records.ChangesSince).Query(rowByRow(func(r pgx.Rows) error {
		lane, err := records.ScanChanged(r.Scan)
		changed = append(changed, lane)
		return err
	}))
	if err := from.send(ctx, b); err != nil {
		return nil, nil, err
	}
	var streams []records.Record
	if len(changed) == records.ChangesSince {
		stored = nil
		streams, err = all(ctx, from, scanRecord, allStreams, texts(owners), position)
	} else if changed = records.ChangedOf(owners, changed); len(changed) > 0 {
		tenants, names := laneArrays(changed)
		for i, lane := range changed {
			names[i] = records.StreamOf(lane)
		}
		streams, err = all(ctx, from, scanRecord, streamsOf, tenants, names, position)
	}
	if err != nil {
		return nil, nil, err
	}
	return s.AsOf(ctx, stored, changed, streams, s.CurrentSubscription)
}

const selectStates = `SELECT s.tenant_id, s.subscription_id, s.state FROM unnest($1::text[], $2::text[]) AS k (tenant_id, subscription_id)
JOIN subscriptions s ON s.tenant_id = k.tenant_id AND s.subscription_id = k.subscription_id`

// states are the subscriptions as their last changes left them.
func (s *Store) states(ctx context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]subscription.Subscription, error) {
	found := make(map[dispatch.Lane]subscription.Subscription, len(lanes))
	if len(lanes) == 0 {
		return found, nil
	}
	tenants, ids := laneArrays(lanes)
	stored := make(map[dispatch.Lane][]byte, len(lanes))
	err := s.db.from(ctx).query(ctx, func(r pgx.Rows) error {
		var lane dispatch.Lane
		var state []byte
		err := r.Scan(&lane.Tenant, &lane.SubscriptionID, &state)
		stored[lane] = state
		return err
	}, selectStates, tenants, ids)
	if err != nil {
		return nil, fmt.Errorf("read %d subscriptions: %w", len(lanes), err)
	}
	for lane, state := range stored {
		sub, err := s.readState(ctx, lane, state)
		if err != nil {
			return nil, err
		}
		found[lane] = sub.Subscription
	}
	return found, nil
}

// readState is a subscription as its row has it.
type readState struct {
	subscription.Subscription
	unreadable error // why nothing but its ID is known
}

func (s *Store) readState(ctx context.Context, lane dispatch.Lane, state []byte) (read readState, err error) {
	read.Subscription, err = s.StoredSubscription(ctx, lane, state)
	if errors.Is(err, dispatch.ErrUnreadable) {
		read.unreadable, err = err, nil
	}
	return read, err
}
