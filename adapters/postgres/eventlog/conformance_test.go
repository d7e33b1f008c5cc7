package eventlog_test

import (
	"testing"
	"time"

	"github.com/ThreeDotsLabs/watermill"
	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/ThreeDotsLabs/watermill/pubsub/tests"

	"github.com/ordinavo/webhooks/adapters/postgres/eventlog"
)

var features = tests.Features{
	ConsumerGroups:      true,
	ExactlyOnceDelivery: true,
	GuaranteedOrder:     true,
	Persistent:          true,
}

// pubSubs makes publishers and subscribers that share one log. The suite nacks
// hundreds of times in a row, so the pause after a failure is short.
func pubSubs(log *eventlog.Log) tests.ConsumerGroupPubSubConstructor {
	return func(t *testing.T, group string) (message.Publisher, message.Subscriber) {
		t.Helper()
		return log.Publisher(), subscriber(t, log, group, eventlog.Options{MaxPause: time.Millisecond})
	}
}

func inOneGroup(of tests.ConsumerGroupPubSubConstructor) tests.PubSubConstructor {
	return func(t *testing.T) (message.Publisher, message.Subscriber) { return of(t, "group") }
}

// TestConformance is Watermill's own suite.
func TestConformance(t *testing.T) {
	t.Parallel()
	make := pubSubs(newLog(t, open(t)))
	tests.TestPubSub(t, features, inOneGroup(make), make)
}

// TestConformanceAtLeastOnce runs what the suite leaves out for who promises exactly once.
func TestConformanceAtLeastOnce(t *testing.T) {
	t.Parallel()
	relaxed := features
	relaxed.ExactlyOnceDelivery = false
	make := inOneGroup(pubSubs(newLog(t, open(t))))
	for name, test := range map[string]func(*testing.T, tests.TestContext, tests.PubSubConstructor){
		"ContinueAfterSubscribeClose": tests.TestContinueAfterSubscribeClose,
		"ConcurrentClose":             tests.TestConcurrentClose,
	} {
		t.Run(name, func(t *testing.T) {
			test(t, tests.TestContext{TestID: tests.NewTestID(), Features: relaxed}, make)
		})
	}
}

// TestConformanceNewGroups has a new group for each subscriber: it reads from the oldest message on.
func TestConformanceNewGroups(t *testing.T) {
	t.Parallel()
	replaying := features
	replaying.NewSubscriberReceivesOldMessages = true
	make := pubSubs(newLog(t, open(t)))
	tests.TestNewSubscriberReceivesOldMessages(t, tests.TestContext{TestID: tests.NewTestID(), Features: replaying},
		func(t *testing.T) (message.Publisher, message.Subscriber) { return make(t, watermill.NewUUID()) })
}
