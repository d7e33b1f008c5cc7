package wakeup

import (
	"strings"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// changed is the prefix of topics that name a changed subscription. They are signals only: nothing is stored under them.
const changed = "changed:"

// SubscriptionTopic is the topic of one subscription's changes.
func SubscriptionTopic(lane dispatch.Lane) string {
	return changed + string(lane.Tenant) + "/" + lane.SubscriptionID
}

// Subscription is the lane whose subscription a topic names; false for any other topic.
func Subscription(topic string) (lane dispatch.Lane, ok bool) {
	name, ok := strings.CutPrefix(topic, changed)
	if !ok {
		return lane, false
	}
	owner, id, ok := strings.Cut(name, "/")
	return dispatch.Lane{Tenant: tenant.ID(owner), SubscriptionID: id}, ok
}

// HearSubscriptions calls fn for each subscription that a commit is known to have changed, before Committed returns. fn must
// not block. stop ends the calls.
func (s *Signals) HearSubscriptions(fn func(dispatch.Lane)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	heard := &fn
	if s.hearers == nil {
		s.hearers = map[*func(dispatch.Lane)]struct{}{}
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
	lane, ok := Subscription(topic)
	if !ok {
		return
	}
	for fn := range s.hearers {
		(*fn)(lane)
	}
}
