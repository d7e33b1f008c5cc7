package records

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

const subscriptionStream = "subscription/"

// OfSubscription makes the records of the changes that lead from a version of a subscription to its present state.
func OfSubscription(after subscription.Subscription, version int64, changes []subscription.Change, by subscriptions.Actor) ([]Record, error) {
	list := make([]Record, len(changes))
	for i, c := range changes {
		name, data, err := subscription.Encode(c)
		if err != nil {
			return nil, err
		}
		list[i] = Record{
			Topic: TopicSubscriptions, Tenant: after.Tenant, Stream: subscriptionStream + after.ID,
			Version: version + int64(i) + 1, Type: name, Data: data, Metadata: metadataOf(by), At: after.UpdatedAt,
		}
	}
	return list, nil
}

func (r Record) lane() dispatch.Lane {
	return dispatch.Lane{Tenant: r.Tenant, SubscriptionID: strings.TrimPrefix(r.Stream, subscriptionStream)}
}

// LoadSubscription folds the stream; see subscriptions.Store.
func (read Streams) LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	stream, err := read.subscription(ctx, lane)
	if err != nil {
		return subscription.Subscription{}, err
	}
	return foldSubscription(stream)
}

// SubscriptionHistory reads the stream and who made each change; see subscriptions.HistoryStore.
func (read Streams) SubscriptionHistory(ctx context.Context, lane dispatch.Lane) ([]subscriptions.Recorded, error) {
	stream, err := read.subscription(ctx, lane)
	if err != nil {
		return nil, err
	}
	history := make([]subscriptions.Recorded, len(stream))
	for i, r := range stream {
		if history[i], err = r.recorded(); err != nil {
			return nil, fmt.Errorf("version %d of %s: %w", r.Version, lane.SubscriptionID, err)
		}
	}
	return history, nil
}

func (r Record) recorded() (c subscriptions.Recorded, err error) {
	var by metadata
	if err = json.Unmarshal(r.Metadata, &by); err != nil {
		return c, fmt.Errorf("%w: decode metadata: %w", dispatch.ErrUnreadable, err)
	}
	c.By, c.At = subscriptions.Actor{KeyID: by.KeyID, KeyName: by.KeyName, TraceParent: by.TraceParent}, r.At
	if c.Change, err = subscription.Decode(r.Type, r.Data); err != nil {
		err = fmt.Errorf("%w: %w", dispatch.ErrUnreadable, err)
	}
	return c, err
}

// subscription reads a subscription's stream; problem.NotFound when it is empty, dispatch.ErrUnreadable when it is damaged.
func (read Streams) subscription(ctx context.Context, lane dispatch.Lane) ([]Record, error) {
	stream, err := read(ctx, lane.Tenant, subscriptionStream+lane.SubscriptionID)
	if errors.Is(err, compact.ErrUnreadable) {
		err = fmt.Errorf("%w: %w", dispatch.ErrUnreadable, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read the stream of %s: %w", lane.SubscriptionID, err)
	}
	if len(stream) == 0 {
		return nil, subscription.ErrNotFound
	}
	return stream, nil
}

func foldSubscription(stream []Record) (sub subscription.Subscription, err error) {
	for _, r := range stream {
		change, err := subscription.Decode(r.Type, r.Data)
		if err == nil {
			err = sub.Apply(change)
		}
		if err != nil {
			return sub, fmt.Errorf("%w: position %d: %w", dispatch.ErrUnreadable, r.Position, err)
		}
	}
	return sub, nil
}

// StoredSubscription reads the state that a subscription's last change left. If it is damaged, the stream is folded instead; if
// that fails too, it returns dispatch.ErrUnreadable and a subscription with its IDs and the default bound in flight.
func (read Streams) StoredSubscription(ctx context.Context, lane dispatch.Lane, state []byte) (sub subscription.Subscription, err error) {
	damage := json.Unmarshal(state, &sub)
	if damage == nil {
		return sub, nil
	}
	if sub, err = read.LoadSubscription(ctx, lane); err == nil {
		return sub, nil
	}
	left := subscription.Subscription{ID: lane.SubscriptionID, Tenant: lane.Tenant, Settings: subscription.Settings{MaxInFlight: subscription.DefaultMaxInFlight}}
	if errors.Is(err, dispatch.ErrUnreadable) || problem.Is(err, problem.NotFound) {
		return left, fmt.Errorf("%w: subscription %s: %w", dispatch.ErrUnreadable, lane.SubscriptionID, damage)
	}
	return left, err
}

// Endpoint is what the stored state of a subscription with the URL has in it, and no other: the member as it is encoded, whose quotes no
// text within a state can have.
func Endpoint(url string) ([]byte, error) {
	encoded, err := json.Marshal(url)
	return append([]byte(`"url":`), encoded...), err
}

// SubscriptionNow reads a subscription as its last change left it; nil if it cannot be read.
type SubscriptionNow func(ctx context.Context, lane dispatch.Lane) (*subscription.Subscription, error)

// SubscriptionChanges decodes packed records of the subscriptions topic; see fanout.Store.
func SubscriptionChanges(ctx context.Context, list []Record, now SubscriptionNow) (changes []fanout.SubscriptionChange, err error) {
	for _, r := range list {
		lane := r.lane()
		c := fanout.SubscriptionChange{Position: r.Position, Tenant: lane.Tenant, SubscriptionID: lane.SubscriptionID, Version: r.Version}
		if c.Unreadable = r.Unpack(); c.Unreadable == nil {
			c.Change, c.Unreadable = subscription.Decode(r.Type, r.Data)
		}
		if c.Unreadable != nil {
			if c.Now, err = now(ctx, lane); err != nil {
				return nil, err
			}
		}
		changes = append(changes, c)
	}
	return changes, nil
}

// Subscriptions folds packed streams that follow one another and leaves out deleted subscriptions. If a stream cannot be read,
// the subscription's present state stands in for it; if that cannot be read either, it is left out.
func Subscriptions(ctx context.Context, list []Record, now SubscriptionNow) (subs []subscription.Subscription, err error) {
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Stream == list[0].Stream {
			n++
		}
		sub, err := foldOrNow(ctx, list[:n], now)
		if err != nil {
			return nil, err
		}
		if sub != nil && sub.Status != subscription.StatusDeleted {
			subs = append(subs, *sub)
		}
		list = list[n:]
	}
	return subs, nil
}

func foldOrNow(ctx context.Context, stream []Record, now SubscriptionNow) (*subscription.Subscription, error) {
	var damage error
	for i := range stream {
		damage = cmp.Or(damage, stream[i].Unpack())
	}
	if damage == nil {
		if sub, err := foldSubscription(stream); err == nil {
			return &sub, nil
		}
	}
	return now(ctx, stream[0].lane())
}
