package live_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

func TestFilter(t *testing.T) {
	start := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	d := delivery.Delivery{ID: "dlv_1", SubscriptionID: "sub_1", EventID: "evt_1", EventType: event.TargetImported, Status: delivery.StatusPending, CreatedAt: start}
	for name, c := range map[string]struct {
		filter live.Filter
		want   bool
	}{
		"none": {live.Filter{}, true},
		"all": {live.Filter{Status: delivery.StatusPending, SubscriptionID: "sub_1", EventID: "evt_1", EventType: event.TargetImported,
			Since: start, Until: start.Add(1)}, true},
		"other status":       {live.Filter{Status: delivery.StatusParked}, false},
		"other subscription": {live.Filter{SubscriptionID: "sub_2"}, false},
		"other event":        {live.Filter{EventID: "evt_2"}, false},
		"other type":         {live.Filter{EventType: event.TargetCompleted}, false},
		"too old":            {live.Filter{Since: start.Add(1)}, false},
		"until is exclusive": {live.Filter{Until: start}, false},
	} {
		if got := c.filter.Matches(d); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
