package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// maxNamed is how many events one record names. What they need is read and written together, in a dozen round trips per record; but
// each of them may go to a thousand subscriptions.
const maxNamed = 100

// acceptedRow is a row of events to be written with the record that names it.
type acceptedRow struct {
	intake.Accepted
	content []byte
}

// anyEvent picks pending records that come with events.
func anyEvent(a appended) bool { return len(a.accepted) > 0 || a.again != nil }

func keyArrays(keys []intake.EventKey) (tenants, ids []string) {
	tenants, ids = make([]string, len(keys)), make([]string, len(keys))
	for i, k := range keys {
		tenants[i], ids[i] = string(k.Tenant), k.ID
	}
	return tenants, ids
}

const knownEvents = `SELECT e.tenant_id, e.event_id, e.fingerprint FROM unnest($1::text[], $2::text[]) AS k (tenant_id, event_id)
JOIN events e ON (e.week = 0 OR e.week >= $3) AND e.tenant_id = k.tenant_id AND e.event_id = k.event_id`

const knownTenants = `SELECT tenant_id FROM tenants WHERE tenant_id = ANY($1::text[])`

// Known finds which of the events are already known, and which of their tenants exist. In a transaction it also fetches the
// transaction's ID, since whoever asks is about to write.
func (s *Store) Known(ctx context.Context, keys []intake.EventKey) (intake.Known, error) {
	known := intake.Known{Fingerprints: make(map[intake.EventKey][32]byte, len(keys)), Tenants: map[tenant.ID]bool{}}
	from, err := s.db.fromLog(ctx, anyEvent)
	if err != nil {
		return known, err
	}
	b := &pgx.Batch{}
	if tx, in := from.(*Tx); in {
		tx.willWrite(b)
	}
	tenants, ids := keyArrays(keys)
	b.Queue(knownEvents, tenants, ids, firstWeek(ids, time.Now())).Query(rowByRow(func(r pgx.Rows) error {
		var key intake.EventKey
		var print []byte
		if err := r.Scan(&key.Tenant, &key.ID, &print); err != nil {
			return err
		}
		known.Fingerprints[key] = records.Fingerprint(print)
		return nil
	}))
	b.Queue(knownTenants, texts(intake.TenantsOf(keys))).Query(rowByRow(func(r pgx.Rows) error {
		var id tenant.ID
		err := r.Scan(&id)
		known.Tenants[id] = true
		return err
	}))
	return known, from.send(ctx, b)
}

// AppendEvents stores the events and, in the log, the records that name them.
func (s *Store) AppendEvents(ctx context.Context, events []intake.Accepted) error {
	rows := make([]acceptedRow, len(events))
	for i, e := range events {
		content, err := e.Encoded()
		if err != nil {
			return fmt.Errorf("encode event %s: %w", e.ID, err)
		}
		rows[i] = acceptedRow{e, compact.Pack(compact.Event, content, string(e.TenantID), e.ID)}
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		for named := range slices.Chunk(rows, maxNamed) {
			if err := tx.appendEvents(ctx, named); err != nil {
				return err
			}
		}
		return nil
	})
}

func (tx *Tx) appendEvents(ctx context.Context, rows []acceptedRow) error {
	keys := make([]intake.EventKey, len(rows))
	for i, e := range rows {
		keys[i] = e.Key()
	}
	// No event is in an earlier week than its record, so the record that names it is kept as long as the event is.
	first := slices.MinFunc(rows, func(a, b acceptedRow) int { return a.At.Compare(b.At) })
	r, err := records.OfAccepted(keys, first.At, rows[0].TraceParent)
	if err != nil {
		return err
	}
	return tx.append(ctx, appended{accepted: rows, Record: r.Packed()})
}

// insertAccepted writes a record and the events that it names, whose sequences are derived from its position.
var insertAccepted = `WITH named AS (
    INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
    VALUES (nextval('log_numbers'), $1, '', '', 0, $2, $3, $4, $5, $6) RETURNING position
)
INSERT INTO events (tenant_id, event_id, sequence, event_type, occurred_at, accepted_at, fingerprint, content, traceparent, week)
SELECT e.tenant_id, e.event_id, named.position * ` + perRecord + ` + e.place - 1, e.event_type, e.occurred_at, e.accepted_at, e.fingerprint, e.content, e.traceparent, e.week
FROM named, unnest($7::text[], $8::text[], $9::text[], $10::bigint[], $11::bigint[], $12::bytea[], $13::bytea[], $14::text[], $15::smallint[])
  WITH ORDINALITY AS e (tenant_id, event_id, event_type, occurred_at, accepted_at, fingerprint, content, traceparent, week, place)`

func queueAccepted(b *pgx.Batch, a appended) {
	n := len(a.accepted)
	owner, id, kind, trace := make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	occurred, accepted := make([]int64, n), make([]int64, n)
	print, content, weeks := make([][]byte, n), make([][]byte, n), make([]int16, n)
	for i, e := range a.accepted {
		owner[i], id[i], kind[i], trace[i] = string(e.TenantID), e.ID, string(e.Type), e.TraceParent
		occurred[i], accepted[i] = e.OccurredAt.UnixMicro(), e.At.UnixMicro()
		print[i], content[i], weeks[i] = e.Fingerprint[:], e.content, weekOfEvent(e.ID, e.At)
	}
	queueLookBeside(b, a.At, owner, id)
	b.Queue(insertAccepted, a.Topic, a.Type, a.Data, a.Metadata, a.At.UnixMicro(), a.week(),
		owner, id, kind, occurred, accepted, print, content, trace, weeks)
}

const acceptedEvents = `SELECT e.tenant_id, e.event_id, e.event_type, e.content, e.fingerprint, e.accepted_at, e.traceparent
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (tenant_id, event_id, place)
JOIN events e ON (e.week = 0 OR e.week >= $3) AND e.tenant_id = k.tenant_id AND e.event_id = k.event_id ORDER BY k.place`

// Events loads accepted events, in the order of the keys.
func (s *Store) Events(ctx context.Context, keys []intake.EventKey) ([]intake.Accepted, error) {
	from, err := s.db.fromLog(ctx, anyEvent)
	if err != nil {
		return nil, err
	}
	tenants, ids := keyArrays(keys)
	var owner, kind, trace repeated
	var id string
	var content, print pgtype.DriverBytes
	var accepted int64
	places := []any{&owner, &id, &kind, &content, &print, &accepted, &trace}
	list, err := all(ctx, from, func(r pgx.Rows) (a intake.Accepted, err error) {
		if err = r.Scan(places...); err != nil {
			return a, err
		}
		a.TenantID, a.ID, a.Type, a.TraceParent = tenant.ID(owner), id, event.Type(kind), string(trace)
		copy(a.Fingerprint[:], print)
		a.At = time.UnixMicro(accepted).UTC()
		if read, err := records.DecodeEvent(content, a.TenantID, a.ID); err == nil {
			a.Event = read
		} else {
			a.Unreadable = fmt.Errorf("%w: event %s: %w", dispatch.ErrUnreadable, a.ID, err)
		}
		return a, nil
	}, acceptedEvents, tenants, ids, firstWeek(ids, time.Now()))
	s.db.growth.add(weekOf(s.db.Now()), weekRows{events: int64(len(list))}) // a process that accepts none learns of them here
	return list, err
}

// namedBy goes tenant by tenant, since no index begins with the sequence.
const namedBy = `SELECT e.tenant_id, e.event_id FROM tenants t
CROSS JOIN LATERAL (SELECT tenant_id, event_id, sequence FROM events WHERE tenant_id = t.tenant_id AND sequence >= $1 AND sequence < $2 OFFSET 0) e
ORDER BY e.sequence`

// NamedBy lists the events of the record at the position.
func (s *Store) NamedBy(ctx context.Context, position int64) ([]intake.EventKey, error) {
	from, err := s.db.fromLog(ctx, anyEvent)
	if err != nil {
		return nil, err
	}
	return all(ctx, from, func(r pgx.Rows) (k intake.EventKey, err error) { return k, r.Scan(&k.Tenant, &k.ID) },
		namedBy, position*records.MaxEventsPerRecord, (position+1)*records.MaxEventsPerRecord)
}
