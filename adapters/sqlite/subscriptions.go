package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// A stream begins where there is no row, and continues from the version that its changes were decided on.
const (
	beginSubscription = `INSERT INTO subscriptions (tenant_id, subscription_id, status, version, state) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`
	moveSubscription  = `UPDATE subscriptions SET status = ?3, version = ?4, state = ?5,
    failing_since = CASE WHEN ?7 THEN NULL ELSE failing_since END, failures = CASE WHEN ?7 THEN 0 ELSE failures END
WHERE tenant_id = ?1 AND subscription_id = ?2 AND version = ?6`
	replaceSweep = `INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) VALUES (?, ?, ?, ?)
ON CONFLICT (tenant_id, subscription_id) DO UPDATE SET action = excluded.action, turn_at = excluded.turn_at
WHERE NOT (? AND sweeps.action = '` + string(sweep.Skip) + `')`
	forgetSecrets = `DELETE FROM secrets WHERE tenant_id = ? AND subscription_id = ? AND secret_id NOT IN (SELECT value FROM json_each(?))`
)

// AppendSubscription appends changes with the state they lead to; see subscriptions.Store.
func (s *Store) AppendSubscription(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		state, err := json.Marshal(after)
		if err != nil {
			return err
		}
		save, args := beginSubscription, []any{after.Tenant, after.ID, after.Status, after.Version, state}
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
		for _, topic := range wakeup.SubscriptionTopics(dispatch.LaneOfSubscription(&after), changes) {
			tx.Appended(topic)
		}
		appended, err := records.OfSubscription(after, before.Version, changes, by)
		if err != nil {
			return err
		}
		if err := tx.append(ctx, appended...); err != nil {
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

// follow does what a change asks for beyond its record: it notes the end of a rotation and a sweep, and deletes ended secrets.
func (tx *Tx) follow(ctx context.Context, before, after subscription.Subscription, c subscription.Change) error {
	if err := tx.noteRotation(ctx, after, c); err != nil {
		return err
	}
	if kept, concerned := before.Secrets.KeptAfter(c); concerned {
		ids, err := list(kept)
		if err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, forgetSecrets, after.Tenant, after.ID, ids); err != nil {
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
	sub, _, err := s.state(ctx, s.db.forUsers(), lane)
	return sub, err
}

// SubscriptionToChange is CurrentSubscription, since transactions follow one another; see subscriptions.Store.
func (s *Store) SubscriptionToChange(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return s.CurrentSubscription(ctx, lane)
}

// CountSubscriptions counts the subscriptions that are not deleted.
func (s *Store) CountSubscriptions(ctx context.Context, owner tenant.ID) (int, error) {
	return one(ctx, s.db, value[int], `SELECT count(*) FROM subscriptions WHERE tenant_id = ? AND status <> 'deleted'`, owner)
}

// ListSubscriptions lists the subscriptions that are not deleted, newest first.
func (s *Store) ListSubscriptions(ctx context.Context, owner tenant.ID, before string, limit int) ([]subscription.Subscription, error) {
	if before == "" {
		before = "~" // sorts after every ID
	}
	stored, err := all(ctx, s.db.forUsers(), scanStored, `SELECT tenant_id, subscription_id, state FROM subscriptions
		WHERE tenant_id = ? AND subscription_id < ? AND status <> 'deleted' ORDER BY subscription_id DESC LIMIT ?`, owner, before, limit)
	if err != nil {
		return nil, err
	}
	return s.StoredSubscriptions(ctx, stored)
}

func scanStored(r *sql.Rows) (s records.StoredState, err error) {
	err = r.Scan(&s.Tenant, &s.SubscriptionID, &s.State)
	return s, err
}

// Governing reads the subscriptions topic; see fanout.Store.
func (s *Store) Governing(ctx context.Context, after, upTo int64, limit int, owners []tenant.ID) (changes []fanout.SubscriptionChange, deferring map[tenant.ID]bool, err error) {
	list, err := all(ctx, s.db, scanRecord, `SELECT `+recordColumns+` FROM records WHERE topic = '`+records.TopicSubscriptions+`' AND position > ? AND position <= ?
		ORDER BY position LIMIT ?`, after, upTo, limit)
	if err != nil {
		return nil, nil, err
	}
	if changes = records.SubscriptionChanges(list); len(owners) == 0 {
		return changes, nil, nil
	}
	deferring, err = s.deferring(ctx, owners)
	return changes, deferring, err
}

// What is stored is read before what has changed since: a change that comes in between is after the position.
const (
	liveStates = `SELECT tenant_id, subscription_id, state FROM subscriptions
		WHERE tenant_id IN (SELECT value FROM json_each(?)) AND status <> 'deleted'`
	changedSince = `SELECT tenant_id, stream FROM records WHERE topic = '` + records.TopicSubscriptions + `' AND position >= ? ORDER BY position LIMIT ?`
	streamsOf    = `SELECT ` + recordColumns + ` FROM records WHERE version > 0 AND position < ?
		AND (tenant_id, stream) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?)) ORDER BY tenant_id, stream, version`
	allStreams = `SELECT ` + recordColumns + ` FROM records WHERE tenant_id IN (SELECT value FROM json_each(?))
		AND stream >= 'subscription/' AND stream < 'subscription0' AND version > 0 AND position < ? ORDER BY tenant_id, stream, version`
)

// SubscriptionsAt reads the tenants' subscriptions, and folds the streams (up to the position, exclusive) of those that have changed
// since; see fanout.Store.
func (s *Store) SubscriptionsAt(ctx context.Context, owners []tenant.ID, position int64) ([]subscription.Subscription, []dispatch.Lane, error) {
	from := s.db.forUsers()
	ids, err := list(owners)
	if err != nil {
		return nil, nil, err
	}
	stored, err := all(ctx, from, scanStored, liveStates, ids)
	if err != nil {
		return nil, nil, err
	}
	changed, err := all(ctx, from, func(r *sql.Rows) (dispatch.Lane, error) { return records.ScanChanged(r.Scan) }, changedSince, position, records.ChangesSince)
	if err != nil {
		return nil, nil, err
	}
	var streams []records.Record
	if len(changed) == records.ChangesSince {
		stored = nil
		streams, err = all(ctx, from, scanRecord, allStreams, ids, position)
	} else if changed = records.ChangedOf(owners, changed); len(changed) > 0 {
		streams, err = s.streamsOf(ctx, changed, position)
	}
	if err != nil {
		return nil, nil, err
	}
	return s.AsOf(ctx, stored, changed, streams, s.CurrentSubscription)
}

// streamsOf reads the subscriptions' streams up to the position.
func (s *Store) streamsOf(ctx context.Context, lanes []dispatch.Lane, position int64) ([]records.Record, error) {
	streams := make([][2]string, len(lanes))
	for i, lane := range lanes {
		streams[i] = [2]string{string(lane.Tenant), records.StreamOf(lane)}
	}
	wanted, err := list(streams)
	if err != nil {
		return nil, err
	}
	return all(ctx, s.db.forUsers(), scanRecord, streamsOf, position, wanted)
}
