package memory

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Known finds which of the events are known already, and which of their tenants exist.
func (s *Store) Known(ctx context.Context, wanted []intake.EventKey) (intake.Known, error) {
	done, err := s.read(ctx)
	defer done()
	known := intake.Known{Fingerprints: map[intake.EventKey][32]byte{}, Tenants: map[tenant.ID]bool{}}
	for _, k := range wanted {
		if e, found := s.events.get(keyOf(k.Tenant, k.ID)); found {
			known.Fingerprints[k] = e.Fingerprint
		}
		if _, found := s.tenants.get(keyOf(k.Tenant)); found {
			known.Tenants[k.Tenant] = true
		}
	}
	return known, err
}

// maxEventsPerRecord leaves room in a sequence number for the place of an event in its record.
const maxEventsPerRecord = 1 << 16

// maxNamed is how many events one record names: few, so that a commit often takes several.
const maxNamed = 3

// AppendEvents stores the events and the records in the log that name them.
func (s *Store) AppendEvents(ctx context.Context, events []intake.Accepted) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		for named := range slices.Chunk(events, maxNamed) {
			if err := s.appendEvents(tx, named); err != nil {
				return err
			}
		}
		return nil
	})
}

func (s *Store) appendEvents(tx *tx, events []intake.Accepted) error {
	named := make([]intake.EventKey, len(events))
	for i, e := range events {
		named[i] = e.Key()
	}
	r, err := s.append(tx, record{topic: records.TopicEvents, at: events[0].At, events: named})
	if err != nil {
		return err
	}
	for i, e := range events {
		k := keyOf(e.TenantID, e.ID)
		if _, taken := s.events.get(k); taken {
			return fmt.Errorf("insert event %s: it is there already", e.ID)
		}
		kept := intake.Accepted{Event: e.Event, Fingerprint: e.Fingerprint, TraceParent: e.TraceParent, At: e.At} // as it is read back
		s.events.put(tx, k, storedEvent{Accepted: kept, sequence: r.position*maxEventsPerRecord + int64(i)})
	}
	return nil
}

// Events loads accepted events, in the order of the keys.
func (s *Store) Events(ctx context.Context, wanted []intake.EventKey) (events []intake.Accepted, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, k := range wanted {
		if e, found := s.events.get(keyOf(k.Tenant, k.ID)); found && err == nil {
			events = append(events, e.Accepted)
		}
	}
	return events, err
}

// NamedBy lists the events of the record at the position.
func (s *Store) NamedBy(ctx context.Context, position int64) (keys []intake.EventKey, err error) {
	done, err := s.read(ctx)
	defer done()
	var found []storedEvent
	for _, e := range s.events.all() {
		if e.sequence/maxEventsPerRecord == position {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b storedEvent) int { return cmp.Compare(a.sequence, b.sequence) })
	for _, e := range found {
		keys = append(keys, e.Key())
	}
	return keys, err
}

func (e storedEvent) listed() queries.Event {
	return queries.Event{ID: e.ID, Type: e.Type, Tenant: e.TenantID, OccurredAt: e.OccurredAt.UTC(), AcceptedAt: e.At,
		TraceParent: e.TraceParent, Position: e.sequence / maxEventsPerRecord, Sequence: e.sequence,
		SetAside: e.setAside, Retried: e.retried}
}

// AcceptedEvents lists newest first.
func (s *Store) AcceptedEvents(ctx context.Context, f queries.EventFilter) (list []queries.Event, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, e := range s.events.under(string(f.Tenant)) {
		if (f.Type == "" || e.Type == f.Type) && (f.Since.IsZero() || !e.At.Before(f.Since)) &&
			(f.Until.IsZero() || e.At.Before(f.Until)) && (f.Before == 0 || e.sequence < f.Before) && (!f.SetAside || e.setAside != nil) {
			list = append(list, e.listed())
		}
	}
	slices.SortFunc(list, func(a, b queries.Event) int { return int(b.Sequence - a.Sequence) })
	return list[:min(len(list), f.Limit)], err
}

// Event finds one accepted event.
func (s *Store) Event(ctx context.Context, owner tenant.ID, id string) (queries.Event, error) {
	done, err := s.read(ctx)
	defer done()
	e, found := s.events.get(keyOf(owner, id))
	return e.listed(), orNotFound(err, found, "event")
}

// orNotFound is the user's problem when a row is not there.
func orNotFound(err error, found bool, what string) error {
	if err == nil && !found {
		return problem.New(problem.NotFound, "There is no such %s.", what)
	}
	return err
}

// FannedOut says whether fan-out is done with the event.
func (s *Store) FannedOut(ctx context.Context, e queries.Event) (bool, error) {
	done, err := s.read(ctx)
	defer done()
	return e.Sequence < s.fannedOut(e.Tenant), err
}

// GatedOf lists what a missing feature kept back.
func (s *Store) GatedOf(ctx context.Context, owner tenant.ID, eventID string) (list []queries.Gated, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, g := range s.gated.under(string(owner), eventID) {
		list = append(list, queries.Gated{SubscriptionID: g.SubscriptionID, Feature: g.Feature})
	}
	return list, err
}
