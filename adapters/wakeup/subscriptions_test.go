package wakeup

import (
	"slices"
	"testing"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func TestChangedSubscriptionsAreHeardByName(t *testing.T) {
	signals := &Signals{}
	var first, second []Change
	stop := signals.HearSubscriptions(func(c Change) { first = append(first, c) })
	defer signals.HearSubscriptions(func(c Change) { second = append(second, c) })()
	a, b := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}, dispatch.Lane{Tenant: "a.b-c_d", SubscriptionID: "sub_2"}
	filter, moved := []subscription.Change{subscription.FilterChanged{}}, []subscription.Change{subscription.EndpointChanged{}}

	if got := slices.Concat(SubscriptionTopics(a, filter), SubscriptionTopics(a, moved)); !slices.Equal(got, []string{"changed:acme/sub_1", "changed:acme/sub_1", "anew:acme/sub_1"}) {
		t.Errorf("processes of other versions do not know %q", got)
	}
	signals.Committed(slices.Concat([]string{"subscriptions:3"}, SubscriptionTopics(a, filter), SubscriptionTopics(b, moved)), true)
	signals.Committed([]string{"subscriptions:3", "changed:", "changed:sub_1", "anew:sub_1"}, false)
	signals.All() // nothing is known to have changed
	if want := []Change{{a, false}, {b, false}, {b, true}}; !slices.Equal(first, want) || !slices.Equal(second, want) {
		t.Errorf("heard %v and %v", first, second)
	}

	stop()
	stop()
	signals.Committed(SubscriptionTopics(a, filter), false)
	if len(first) != 3 || len(second) != 4 {
		t.Errorf("heard %v after the end, and %v", first, second)
	}
}
