package eventlogtest

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/ordinavo/webhooks/adapters/eventlog"
)

var features = tests.Features{
	ConsumerGroups:      true,
	ExactlyOnceDelivery: true,
	GuaranteedOrder:     true,
	Persistent:          true,
}

// pubSubs makes publishers and subscribers that share one log. The suite nacks
// hundreds of times in a row, so the pause after a failure is short.
func pubSubs(db eventlog.Database) tests.ConsumerGroupPubSubConstructor {
	log := newLog(db, eventlog.Options{MaxPause: time.Millisecond})
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		t.Helper()
		s, err := log.Subscriber(group)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return log.Publisher(), s
	}
}

func inOneGroup(of tests.ConsumerGroupPubSubConstructor) tests.PubSubConstructor {
	return func(t *testing.T) (message.Publisher, message.Subscriber) { return of(t, "group") }
}

// Conform runs Watermill's own suite.
func Conform(t *testing.T, open func(t *testing.T) Database) {
	t.Run("ExactlyOnce", func(t *testing.T) {
		t.Parallel()
		of := pubSubs(open(t))
		tests.TestPubSub(t, features, inOneGroup(of), of)
	})
	relaxed := features
	relaxed.ExactlyOnceDelivery = false
	for name, test := range map[string]func(*testing.T, tests.TestContext, tests.PubSubConstructor){
		// The suite leaves these out for a Pub/Sub that promises exactly-once delivery.
		"ContinueAfterSubscribeClose": tests.TestContinueAfterSubscribeClose,
		"ConcurrentClose":             tests.TestConcurrentClose,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, tests.TestContext{TestID: tests.NewTestID(), Features: relaxed}, inOneGroup(pubSubs(open(t))))
		})
	}
	t.Run("NewGroups", func(t *testing.T) { // a new group for each subscriber, which reads from the oldest message on
		t.Parallel()
		replaying := features
		replaying.NewSubscriberReceivesOldMessages = true
		of := pubSubs(open(t))
		tests.TestNewSubscriberReceivesOldMessages(t, tests.TestContext{TestID: tests.NewTestID(), Features: replaying},
			func(t *testing.T) (message.Publisher, message.Subscriber) { return of(t, watermill.NewUUID()) })
	})
}
