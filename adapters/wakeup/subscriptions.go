package wakeup

import (
	"strings"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// The prefixes of topics that name a changed subscription. They are signals only: nothing is stored under them. A process of an older
// version knows the first alone.
const (
	changed = "changed:"
	anew    = "anew:"
)

// SubscriptionTopics are those that tell of changes of the lane's subscription.
func SubscriptionTopics(lane dispatch.Lane, changes []subscription.Change) []string {
	name := string(lane.Tenant) + "/" + lane.SubscriptionID
	if subscription.ForgetsReceiver(changes) {
		return []string{changed + name, anew + name}
	}
	return []string{changed + name}
}

// Change is a subscription that was changed, as a topic tells of it.
type Change struct {
	dispatch.Lane
	Anew bool // see subscription.ForgetsReceiver
}

// Subscription is the subscription that a topic names; false for any other topic.
func Subscription(topic string) (c Change, ok bool) {
	name, ok := strings.CutPrefix(topic, changed)
	if !ok {
		if name, ok = strings.CutPrefix(topic, anew); !ok {
			return c, false
		}
		c.Anew = true
	}
	owner, id, ok := strings.Cut(name, "/")
	c.Lane = dispatch.Lane{Tenant: tenant.ID(owner), SubscriptionID: id}
	return c, ok
}

// HearSubscriptions calls fn for each subscription that a commit is known to have changed, before Committed returns. fn must
// not block. stop ends the calls.
func (s *Signals) HearSubscriptions(fn func(Change)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := &fn
	if s.hearers == nil {
		s.hearers = map[*func(Change)]struct{}{}
	}
	s.hearers[heard] = struct{}{}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.hearers, heard)
	}
}

// tell calls the hearers if the topic names a subscription. The caller holds the lock.
func (s *Signals) tell(topic string) {
	change, ok := Subscription(topic)
	if !ok {
		return
	}
	for fn := range s.hearers {
		(*fn)(change)
	}
}
