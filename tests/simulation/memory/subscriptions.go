package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const subscriptionStream = "subscription/"

// LoadSubscription folds the stream.
func (s *Store) LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	done, err := s.read(ctx)
	defer done()
	stream, found := s.streams.get(keyOf(lane.Tenant, subscriptionStream+lane.SubscriptionID))
	if err := orNotFound(err, found, "subscription"); err != nil {
		return subscription.Subscription{}, err
	}
	return fold(stream)
}

// CurrentSubscription is the state that the last change left; see subscriptions.Store.
func (s *Store) CurrentSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	done, err := s.read(ctx)
	defer done()
	row, found := s.subscriptions.get(keyOf(lane.Tenant, lane.SubscriptionID))
	return row.Subscription, orNotFound(err, found, "subscription")
}

// SubscriptionToChange is the same, since one transaction at a time works; see subscriptions.Store.
func (s *Store) SubscriptionToChange(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	return s.CurrentSubscription(ctx, lane)
}

func fold(stream []*record) (sub subscription.Subscription, err error) {
	for _, r := range stream {
		if err := sub.Apply(r.subscription); err != nil {
			return sub, fmt.Errorf("position %d: %w", r.position, err)
		}
	}
	return sub, nil
}

// AppendSubscription appends changes with the state they lead to; see subscriptions.Store.
func (s *Store) AppendSubscription(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by subscriptions.Actor) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		k := keyOf(after.Tenant, after.ID)
		row, found := s.subscriptions.get(k)
		if found != (before.Version > 0) || row.Version != before.Version {
			return subscriptions.ErrMoved
		}
		if subscription.BeginsAnew(before, after) {
			row.failingSince, row.failures = time.Time{}, 0
		}
		s.subscriptions.put(tx, k, storedSubscription{after, row.failingSince, row.failures})
		for _, topic := range wakeup.SubscriptionTopics(dispatch.LaneOfSubscription(&after), changes) {
			tx.appended(topic)
		}
		for i, c := range changes {
			r := record{topic: records.TopicSubscriptions, tenant: after.Tenant, stream: subscriptionStream + after.ID,
				version: before.Version + int64(i) + 1, at: after.UpdatedAt, subscription: c, by: by}
			if _, err := s.append(tx, r); err != nil {
				return err
			}
			switch at, concerned := subscription.NoticeOf(c); {
			case !concerned:
			case at.IsZero():
				s.notices.drop(tx, k)
			default:
				s.notices.put(tx, k, subscriptions.Notice{Lane: dispatch.Lane{Tenant: after.Tenant, SubscriptionID: after.ID}, At: at})
			}
			if kept, concerned := before.Secrets.KeptAfter(c); concerned {
				s.forgetSecrets(tx, k, kept)
			}
			if action, needed := sweep.ActionFor(c); needed {
				if noted, _ := s.sweeps.get(k); noted.action == sweep.Skip && sweep.WaitsForSkip(c) {
					return sweep.ErrSkipping
				}
				tx.queue = true
				s.sweeps.put(tx, k, storedSweep{action, after.UpdatedAt})
			}
		}
		return nil
	})
}

// SubscriptionHistory reads the stream with who wrote it; see subscriptions.HistoryStore.
func (s *Store) SubscriptionHistory(ctx context.Context, lane dispatch.Lane) (history []subscriptions.Recorded, err error) {
	done, err := s.read(ctx)
	defer done()
	stream, found := s.streams.get(keyOf(lane.Tenant, subscriptionStream+lane.SubscriptionID))
	for _, r := range stream {
		history = append(history, subscriptions.Recorded{Change: r.subscription, By: r.by, At: r.at})
	}
	return history, orNotFound(err, found, "subscription")
}

// GatedEvents counts gated events; see subscriptions.HistoryStore.
func (s *Store) GatedEvents(ctx context.Context, lane dispatch.Lane, first, last int64) (list []subscriptions.Gated, err error) {
	done, err := s.read(ctx)
	defer done()
	var found []fanout.Gated
	for _, g := range s.gated.under(string(lane.Tenant)) {
		if g.SubscriptionID == lane.SubscriptionID && first <= g.SubscriptionVersion && g.SubscriptionVersion <= last {
			found = append(found, g)
		}
	}
	slices.SortFunc(found, func(a, b fanout.Gated) int {
		return cmp.Or(cmp.Compare(a.SubscriptionVersion, b.SubscriptionVersion), cmp.Compare(a.Feature, b.Feature), a.AcceptedAt.Compare(b.AcceptedAt))
	})
	for _, g := range found {
		if n := len(list); n == 0 || list[n-1].Version != g.SubscriptionVersion || list[n-1].Feature != g.Feature {
			list = append(list, subscriptions.Gated{Version: g.SubscriptionVersion, Feature: g.Feature, First: g.AcceptedAt})
		}
		kept := &list[len(list)-1]
		kept.Events, kept.Last = kept.Events+1, g.AcceptedAt
	}
	return list, err
}

// NoteTest puts a test into the log before it is sent.
func (s *Store) NoteTest(ctx context.Context, e subscriptions.Exchange, by subscriptions.Actor) error {
	return s.noteTest(ctx, e, 1)
}

// NoteTestEnd adds what came of a test.
func (s *Store) NoteTestEnd(ctx context.Context, e subscriptions.Exchange) error {
	return s.noteTest(ctx, e, 2)
}

func (s *Store) noteTest(ctx context.Context, e subscriptions.Exchange, version int64) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		_, err := s.append(tx, record{topic: records.TopicTests, tenant: e.Tenant, stream: testStream + e.DeliveryID, version: version, at: e.At, test: e})
		return err
	})
}

const testStream = "test/"

// FindTest reads a test's stream.
func (s *Store) FindTest(ctx context.Context, owner tenant.ID, deliveryID string) (e subscriptions.Exchange, err error) {
	done, err := s.read(ctx)
	defer done()
	stream, found := s.streams.get(keyOf(owner, testStream+deliveryID))
	if found {
		e = stream[len(stream)-1].test
	}
	return e, orNotFound(err, found, "test")
}

// CountSubscriptions counts those that were not deleted.
func (s *Store) CountSubscriptions(ctx context.Context, owner tenant.ID) (int, error) {
	list, err := s.ListSubscriptions(ctx, owner, "", int(^uint(0)>>1))
	return len(list), err
}

// ListSubscriptions lists those that were not deleted, newest first.
func (s *Store) ListSubscriptions(ctx context.Context, owner tenant.ID, before string, limit int) (list []subscription.Subscription, err error) {
	done, err := s.read(ctx)
	defer done()
	for k, row := range s.subscriptions.under(string(owner)) {
		if row.Status != subscription.StatusDeleted && (before == "" || k[1] < before) {
			list = append(list, row.Subscription)
		}
	}
	slices.Reverse(list)
	return list[:min(len(list), limit)], err
}

// Governing reads the subscriptions topic; see fanout.Store.
func (s *Store) Governing(ctx context.Context, after, upTo int64, limit int, owners []tenant.ID) (list []fanout.SubscriptionChange, deferring map[tenant.ID]bool, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, r := range s.after(after) {
		if r.position > upTo || len(list) == limit {
			break
		}
		if r.topic == records.TopicSubscriptions {
			list = append(list, fanout.SubscriptionChange{Position: r.position, Tenant: r.tenant,
				SubscriptionID: strings.TrimPrefix(r.stream, subscriptionStream), Version: r.version, Change: r.subscription})
		}
	}
	return list, s.deferring(owners), err
}

// SubscriptionsAt folds the tenants' streams as far as the position, and leaves out what was deleted by then.
func (s *Store) SubscriptionsAt(ctx context.Context, owners []tenant.ID, position int64) (list []subscription.Subscription, lost []dispatch.Lane, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, owner := range slices.Sorted(slices.Values(owners)) {
		for k, stream := range s.streams.under(string(owner)) {
			n := 0
			for n < len(stream) && stream[n].position < position {
				n++
			}
			if n == 0 || !strings.HasPrefix(k[1], subscriptionStream) {
				continue
			}
			sub, err := fold(stream[:n])
			if err != nil {
				return nil, nil, err
			}
			if sub.Status != subscription.StatusDeleted {
				list = append(list, sub)
			}
		}
	}
	return list, nil, err
}

// SaveSecret keeps a signing secret.
func (s *Store) SaveSecret(ctx context.Context, lane dispatch.Lane, secretID string, plain secret.Secret, _ time.Time) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		k := keyOf(lane.Tenant, lane.SubscriptionID, secretID)
		if _, taken := s.secrets.get(k); taken {
			return fmt.Errorf("save secret %s: it is there already", secretID)
		}
		s.secrets.put(tx, k, storedSecret{plain, lane, secretID})
		if s.everySecret[lane] == nil {
			s.everySecret[lane] = map[string]secret.Secret{}
		}
		s.everySecret[lane][secretID] = plain
		return nil
	})
}

func (s *Store) forgetSecrets(tx *tx, of key, kept []string) {
	var ended []key
	for k, row := range s.secrets.under(of[0], of[1]) {
		if !slices.Contains(kept, row.id) {
			ended = append(ended, k)
		}
	}
	for _, k := range ended {
		s.secrets.drop(tx, k)
	}
}

// OpenSecret reads a signing secret; it opens for what it was saved for alone.
func (s *Store) OpenSecret(ctx context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	done, err := s.read(ctx)
	defer done()
	lane := dispatch.Lane{Tenant: owner, SubscriptionID: subscriptionID}
	row, found := s.secrets.get(keyOf(owner, subscriptionID, secretID))
	of, known := s.subscriptions.get(laneKey(lane))
	switch missing := !found || row.lane != lane || row.id != secretID; {
	case err == nil && missing && known && !of.HasSecret(secretID):
		err = fmt.Errorf("open secret %s: %w", secretID, dispatch.ErrDeleted)
	case err == nil && missing:
		err = fmt.Errorf("open secret %s: it is not there, or another's", secretID)
	}
	return row.Secret, err
}

// MoveSecret gives the row of a secret to another lane, as somebody with access to the tables could.
func (s *Store) MoveSecret(ctx context.Context, from, to dispatch.Lane, secretID string) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		row, _ := s.secrets.get(keyOf(from.Tenant, from.SubscriptionID, secretID))
		s.secrets.drop(tx, keyOf(from.Tenant, from.SubscriptionID, secretID))
		s.secrets.put(tx, keyOf(to.Tenant, to.SubscriptionID, secretID), row)
		return nil
	})
}
