package subscription_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/tests/closedset"
)

// examples is every change with every field filled, by the name of its Go type.
func examples() map[string]subscription.Change {
	to := settings()
	return closedset.Named[subscription.Change](
		subscription.Created{At: start, ID: "sub_1", Tenant: "tenant-123", Settings: to, SecretID: "sec_1"},
		subscription.EndpointChanged{At: start, Name: to.Name, URL: to.URL, Timeout: to.Timeout,
			MaxInFlight: to.MaxInFlight, RetrySchedule: to.RetrySchedule},
		subscription.FilterChanged{At: start, EventTypes: to.EventTypes},
		subscription.OptionsChanged{At: start, SourceSystem: to.SourceSystem, Options: to.Options},
		subscription.SecretRotationStarted{At: start, SecretID: "sec_2", OverlapEnd: at(24 * time.Hour)},
		subscription.SecretRotationCompleted{At: start},
		subscription.Paused{At: start, Reason: "maintenance"},
		subscription.Resumed{At: start, SkipParked: true},
		subscription.Disabled{At: start, Reason: subscription.ReasonGone},
		subscription.Deleted{At: start},
	)
}

func TestChanges(t *testing.T) {
	closedset.Changes[subscription.Change]{
		Aggregate: "subscription", Examples: examples(), Encode: subscription.Encode, Decode: subscription.Decode, Reasoned: "subscription.paused",
	}.Test(t)
}
