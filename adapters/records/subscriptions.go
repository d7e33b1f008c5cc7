package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
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
			Topic: TopicSubscriptions, Tenant: after.Tenant, Stream: StreamOf(dispatch.LaneOfSubscription(&after)),
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
	stream, err := read(ctx, lane.Tenant, StreamOf(lane))
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

// StoredState is the state that the last change of a subscription left, as it is stored.
type StoredState struct {
	dispatch.Lane
	State []byte
}

// StoredSubscriptions reads each as StoredSubscription does: one whose state is damaged is listed like the others, and one of which nothing
// can be read keeps no other from being listed.
func (read Streams) StoredSubscriptions(ctx context.Context, stored []StoredState) (list []subscription.Subscription, err error) {
	for _, s := range stored {
		sub, err := read.StoredSubscription(ctx, s.Lane, s.State)
		if errors.Is(err, dispatch.ErrUnreadable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		list = append(list, sub)
	}
	return list, nil
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

// SubscriptionChanges decodes packed records of the subscriptions topic.
func SubscriptionChanges(list []Record) (changes []fanout.SubscriptionChange) {
	for _, r := range list {
		lane := r.lane()
		c := fanout.SubscriptionChange{Position: r.Position, Tenant: lane.Tenant, SubscriptionID: lane.SubscriptionID, Version: r.Version}
		if c.Unreadable = r.Unpack(); c.Unreadable == nil {
			c.Change, c.Unreadable = subscription.Decode(r.Type, r.Data)
		}
		changes = append(changes, c)
	}
	return changes
}

// ChangesSince is how many changes of subscriptions since a position are looked at. If there are more, the streams of all of a
// tenant's subscriptions are folded, and not only of those that have changed since.
const ChangesSince = 1000

// ScanChanged reads a changed subscription's tenant and stream.
func ScanChanged(scan func(...any) error) (lane dispatch.Lane, err error) {
	var r Record
	err = scan(&r.Tenant, &r.Stream)
	return r.lane(), err
}

// ChangedOf is those of the changed subscriptions that belong to the tenants, once each and in order.
func ChangedOf(owners []tenant.ID, changed []dispatch.Lane) []dispatch.Lane {
	slices.SortFunc(changed, dispatch.Lane.Compare)
	return slices.DeleteFunc(slices.Compact(changed), func(lane dispatch.Lane) bool { return !slices.Contains(owners, lane.Tenant) })
}

// StreamOf names the subscription's stream.
func StreamOf(lane dispatch.Lane) string { return subscriptionStream + lane.SubscriptionID }

// AsOf puts together what is stored of subscriptions that have not changed since a position, and the packed streams
// up to there, one after the other, of those that have. It leaves out deleted subscriptions. If a stream cannot be read, the
// subscription's present state stands in for it; what cannot be read either is lost.
func (read Streams) AsOf(ctx context.Context, stored []StoredState, changed []dispatch.Lane, streams []Record,
	now func(context.Context, dispatch.Lane) (subscription.Subscription, error)) (list []subscription.Subscription, lost []dispatch.Lane, err error) {
	put := func(lane dispatch.Lane, sub subscription.Subscription, err error) error {
		switch {
		case errors.Is(err, dispatch.ErrUnreadable) || problem.Is(err, problem.NotFound):
			lost = append(lost, lane)
		case err != nil:
			return err
		case sub.Status != subscription.StatusDeleted:
			list = append(list, sub)
		}
		return nil
	}
	for _, s := range stored {
		if _, since := slices.BinarySearchFunc(changed, s.Lane, dispatch.Lane.Compare); since {
			continue
		}
		sub, err := read.StoredSubscription(ctx, s.Lane, s.State)
		if err := put(s.Lane, sub, err); err != nil {
			return nil, nil, err
		}
	}
	for len(streams) > 0 {
		n := 1
		for n < len(streams) && streams[n].lane() == streams[0].lane() {
			n++
		}
		lane := streams[0].lane()
		sub, err := foldPacked(streams[:n])
		if err != nil {
			sub, err = now(ctx, lane)
		}
		if err := put(lane, sub, err); err != nil {
			return nil, nil, err
		}
		streams = streams[n:]
	}
	slices.SortFunc(list, func(a, b subscription.Subscription) int {
		return dispatch.LaneOfSubscription(&a).Compare(dispatch.LaneOfSubscription(&b))
	})
	return list, lost, nil
}

func foldPacked(stream []Record) (sub subscription.Subscription, err error) {
	for i := range stream {
		if err := stream[i].Unpack(); err != nil {
			return sub, err
		}
	}
	return foldSubscription(stream)
}
