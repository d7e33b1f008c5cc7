package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const knownEvents = `SELECT e.tenant_id, e.event_id, e.fingerprint FROM json_each(?) k
CROSS JOIN events e ON e.tenant_id = k.value ->> 't' AND e.event_id = k.value ->> 'e'`

const knownTenants = `SELECT t.tenant_id FROM json_each(?) k CROSS JOIN tenants t ON t.tenant_id = k.value`

// Known finds which of the events are known already, and which of their tenants exist.
func (s *Store) Known(ctx context.Context, keys []intake.EventKey) (intake.Known, error) {
	known := intake.Known{Fingerprints: map[intake.EventKey][32]byte{}, Tenants: map[tenant.ID]bool{}}
	wanted, err := list(keys)
	if err != nil {
		return known, err
	}
	owners, err := list(intake.TenantsOf(keys))
	if err != nil {
		return known, err
	}
	err = s.db.query(ctx, func(r *sql.Rows) error {
		var key intake.EventKey
		var print []byte
		if err := r.Scan(&key.Tenant, &key.ID, &print); err != nil {
			return err
		}
		known.Fingerprints[key] = records.Fingerprint(print)
		return nil
	}, knownEvents, wanted)
	if err != nil {
		return known, err
	}
	found, err := all(ctx, s.db, value[tenant.ID], knownTenants, owners)
	for _, id := range found {
		known.Tenants[id] = true
	}
	return known, err
}

var insertEvents = insertInto("events",
	"tenant_id, event_id, sequence, event_type, occurred_at, accepted_at, fingerprint, content, traceparent")

// maxNamed is how many events one record names. It bounds how long fan-out holds the only writer: each event
// of a record may go to a thousand subscriptions.
const maxNamed = 25

// AppendEvents stores the events and the records in the log that name them.
func (s *Store) AppendEvents(ctx context.Context, events []intake.Accepted) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for named := range slices.Chunk(events, maxNamed) {
			if err := tx.appendEvents(ctx, named); err != nil {
				return err
			}
		}
		return nil
	})
}

func (tx *Tx) appendEvents(ctx context.Context, events []intake.Accepted) error {
	keys := make([]intake.EventKey, len(events))
	for i, e := range events {
		keys[i] = e.Key()
	}
	named, err := records.OfAccepted(keys, events[0].At, events[0].TraceParent)
	if err != nil {
		return err
	}
	if err := tx.append(ctx, named); err != nil {
		return err
	}
	position, err := tx.lastPosition(ctx)
	if err != nil {
		return fmt.Errorf("read the log's head: %w", err)
	}
	args := make([]any, 0, len(events)*insertEvents.columns)
	for i, e := range events {
		content, err := e.Encoded()
		if err != nil {
			return fmt.Errorf("encode event %s: %w", e.ID, err)
		}
		args = append(args, e.TenantID, e.ID, position*records.MaxEventsPerRecord+int64(i), e.Type,
			stamp(e.OccurredAt), stamp(e.At), e.Fingerprint[:], compact.Pack(compact.Event, content, string(e.TenantID), e.ID), e.TraceParent)
	}
	if err := tx.insert(ctx, insertEvents, args); err != nil {
		return fmt.Errorf("insert %d events: %w", len(events), err)
	}
	return nil
}

const acceptedEvents = `SELECT e.tenant_id, e.event_id, e.event_type, e.content, e.fingerprint, e.accepted_at, e.traceparent FROM json_each(?) k
CROSS JOIN events e ON e.tenant_id = k.value ->> 't' AND e.event_id = k.value ->> 'e' ORDER BY k.key`

// Events loads accepted events in the order of the keys.
func (s *Store) Events(ctx context.Context, keys []intake.EventKey) ([]intake.Accepted, error) {
	wanted, err := list(keys)
	if err != nil {
		return nil, err
	}
	return all(ctx, s.db, func(r *sql.Rows) (a intake.Accepted, err error) {
		var content, print []byte
		var accepted sql.NullInt64
		if err = r.Scan(&a.TenantID, &a.ID, &a.Type, &content, &print, &accepted, &a.TraceParent); err != nil {
			return a, err
		}
		copy(a.Fingerprint[:], print)
		a.At = moment(accepted)
		if read, err := records.DecodeEvent(content, a.TenantID, a.ID); err == nil {
			a.Event = read
		} else {
			a.Unreadable = fmt.Errorf("%w: event %s: %w", dispatch.ErrUnreadable, a.ID, err)
		}
		return a, nil
	}, acceptedEvents, wanted)
}

const namedBy = `SELECT e.tenant_id, e.event_id FROM tenants t
CROSS JOIN events e ON e.tenant_id = t.tenant_id AND e.sequence >= ?1 AND e.sequence < ?2 ORDER BY e.sequence`

// NamedBy lists the events of the record at the position.
func (s *Store) NamedBy(ctx context.Context, position int64) ([]intake.EventKey, error) {
	return all(ctx, s.db, func(r *sql.Rows) (k intake.EventKey, err error) { return k, r.Scan(&k.Tenant, &k.ID) },
		namedBy, position*records.MaxEventsPerRecord, (position+1)*records.MaxEventsPerRecord)
}
