package wakeup

import (
	"slices"
	"testing"

	"github.com/ordinavo/webhooks/application/dispatch"
)

func TestChangedSubscriptionsAreHeardByName(t *testing.T) {
	signals := &Signals{}
	var first, second []dispatch.Lane
	stop := signals.HearSubscriptions(func(lane dispatch.Lane) { first = append(first, lane) })
	defer signals.HearSubscriptions(func(lane dispatch.Lane) { second = append(second, lane) })()
	a, b := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}, dispatch.Lane{Tenant: "a.b-c_d", SubscriptionID: "sub_2"}

	signals.Committed([]string{"subscriptions:3", SubscriptionTopic(a), SubscriptionTopic(b)}, true)
	signals.Committed([]string{"subscriptions:3", "changed:", "changed:sub_1"}, false)
	signals.All() // nothing is known to have changed
	if want := []dispatch.Lane{a, b}; !slices.Equal(first, want) || !slices.Equal(second, want) {
		t.Errorf("heard %v and %v", first, second)
	}

	stop()
	stop()
	signals.Committed([]string{SubscriptionTopic(a)}, false)
	if len(first) != 2 || len(second) != 3 {
		t.Errorf("heard %v after the end, and %v", first, second)
	}
}
