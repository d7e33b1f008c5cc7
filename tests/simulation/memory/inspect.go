package memory

import (
	"context"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// What a simulation looks at behind the back of the processes; between transactions alone.

// Row is a delivery as it is stored, with who holds it.
type Row struct {
	delivery.Delivery
	Lease  string
	Closed bool
}

// Rows lists all deliveries, open ones first.
func (s *Store) Rows() (rows []Row) {
	for _, q := range s.open.all() {
		rows = append(rows, Row{q.Delivery, q.lease, false})
	}
	for _, q := range s.closed.all() {
		rows = append(rows, Row{q.Delivery, q.lease, true})
	}
	return rows
}

// Placed is a change with its place in the log.
type Placed[C any] struct {
	Position int64
	Change   C
}

// DeliveryStream is what is kept of the delivery's stream.
func (s *Store) DeliveryStream(owner tenant.ID, id string) (list []Placed[delivery.Change]) {
	stream, _ := s.streams.get(keyOf(owner, deliveryStream+id))
	for _, r := range stream {
		list = append(list, Placed[delivery.Change]{r.position, r.delivery})
	}
	return list
}

// SubscriptionStream is the subscription's stream.
func (s *Store) SubscriptionStream(lane dispatch.Lane) (list []Placed[subscription.Change]) {
	stream, _ := s.streams.get(keyOf(lane.Tenant, subscriptionStream+lane.SubscriptionID))
	for _, r := range stream {
		list = append(list, Placed[subscription.Change]{r.position, r.subscription})
	}
	return list
}

// AtRest reports whether nothing but jobs is left to do: all is fanned out, no sweep is noted, and what is open is parked.
func (s *Store) AtRest() bool {
	for _, q := range s.open.all() {
		if q.lease != "" || q.Status != delivery.StatusParked {
			return false
		}
	}
	return len(s.sweeps.keys) == 0 && s.Unhandled() == 0
}

// AllJobs lists every tenant's jobs.
func (s *Store) AllJobs() (list []job.Job) {
	for _, row := range s.jobs.all() {
		list = append(list, row.Job)
	}
	return list
}

// Unhandled counts the records of events that fan-out has not come to, and what of others waits for its turn.
func (s *Store) Unhandled() (n int) {
	n = len(s.deferred.keys)
	offset, _ := s.offsets.get(keyOf("", fanout.Group, records.TopicEvents))
	for _, r := range s.after(offset) {
		if r.topic == records.TopicEvents {
			n++
		}
	}
	return n
}

// Sweeping counts the lanes that are being swept.
func (s *Store) Sweeping() int { return len(s.sweeps.keys) }

// Accepted lists every event that is stored.
func (s *Store) Accepted() (events []intake.Accepted) {
	for _, e := range s.events.all() {
		events = append(events, e.Accepted)
	}
	return events
}

// States lists every subscription, deleted ones too, as its row has it.
func (s *Store) States() (list []subscription.Subscription) {
	for _, row := range s.subscriptions.all() {
		list = append(list, row.Subscription)
	}
	return list
}

// SecretsOf is the secrets that the lane ever had, by their IDs.
func (s *Store) SecretsOf(lane dispatch.Lane) map[string]secret.Secret { return s.everySecret[lane] }

// EverSetAside lists the IDs of the events that were ever set aside, each as often as it was.
func (s *Store) EverSetAside() (ids []string) {
	for _, r := range s.log {
		if r.topic == records.TopicPoison {
			ids = append(ids, r.setAside.EventID)
		}
	}
	return ids
}

// CountRecords counts the records of a topic.
func (s *Store) CountRecords(_ context.Context, topic string) (n int, err error) {
	for _, r := range s.log {
		if r.topic == topic {
			n++
		}
	}
	return n, nil
}

// SetAside lists the events that are set aside.
func (s *Store) SetAside() (keys []intake.EventKey) {
	for _, e := range s.events.all() {
		if e.setAside != nil {
			keys = append(keys, e.Key())
		}
	}
	return keys
}
