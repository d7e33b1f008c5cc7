package memory

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// deferring says of which of the tenants events wait for their turn.
func (s *Store) deferring(owners []tenant.ID) map[tenant.ID]bool {
	of := map[tenant.ID]bool{}
	for _, owner := range owners {
		for range s.deferred.under(string(owner)) {
			of[owner] = true
			break
		}
	}
	return of
}

// NextTurn is the tenant whose turn is next after another's; see fanout.TurnStore.
func (s *Store) NextTurn(ctx context.Context, after tenant.ID) (first tenant.ID, err error) {
	done, err := s.read(ctx)
	defer done()
	for k := range s.deferred.all() {
		owner := tenant.ID(k[0])
		if owner > after {
			return owner, err
		}
		if first == "" {
			first = owner
		}
	}
	return first, err
}

// DeferredOf lists what waits of the tenant, oldest first. One transaction at a time works.
func (s *Store) DeferredOf(ctx context.Context, owner tenant.ID, limit int) (parts []fanout.Deferred, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, d := range s.deferred.under(string(owner)) {
		if len(parts) < limit {
			parts = append(parts, d)
		}
	}
	return parts, err
}

// WaitingFrom is of what time the oldest of each tenant's deferred events are; see intake.BacklogStore.
func (s *Store) WaitingFrom(ctx context.Context) (map[tenant.ID]time.Time, error) {
	done, err := s.read(ctx)
	defer done()
	of := map[tenant.ID]time.Time{}
	for _, d := range s.deferred.all() {
		if _, known := of[d.Tenant]; known {
			continue
		}
		if rest := s.after(d.Position - 1); len(rest) > 0 && rest[0].position == d.Position {
			of[d.Tenant] = rest[0].at
		}
	}
	return of, err
}

// MayDefer is true: all processes are of one version.
func (s *Store) MayDefer(context.Context, time.Time) (bool, error) { return true, nil }

func (s *Store) moveDeferred(tx *tx, taken, deferred []fanout.Deferred) error {
	for _, d := range taken {
		if !s.deferred.drop(tx, deferredKey(d)) {
			return errors.New("the events were taken by somebody else")
		}
	}
	for _, d := range deferred {
		s.deferred.put(tx, deferredKey(d), d)
	}
	return nil
}

func deferredKey(d fanout.Deferred) key {
	return keyOf(d.Tenant, fmt.Sprintf("%020d", firstOf(d)))
}

func firstOf(d fanout.Deferred) int64 {
	return d.Position*maxEventsPerRecord + int64(d.Events[0].Place)
}

// fannedOut is the sequence before which all of the tenant's events are fanned out.
func (s *Store) fannedOut(owner tenant.ID) int64 {
	offset, found := s.offsets.get(keyOf("", fanout.Group, records.TopicEvents))
	if !found {
		return 0
	}
	for _, d := range s.deferred.under(string(owner)) {
		return firstOf(d)
	}
	return (offset + 1) * maxEventsPerRecord
}
