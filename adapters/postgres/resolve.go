package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	findCustomers = `SELECT r.tenant_id, r.id, r.customer_number, r.name FROM unnest($1::text[], $2::bigint[]) AS k (tenant_id, id)
JOIN customers r ON r.tenant_id = k.tenant_id AND r.id = k.id`
	findLocations = `SELECT r.tenant_id, r.id, r.name, r.city, r.has_coordinates FROM unnest($1::text[], $2::bigint[]) AS k (tenant_id, id)
JOIN locations r ON r.tenant_id = k.tenant_id AND r.id = k.id`
	findContacts = `SELECT r.tenant_id, r.id, r.display_name FROM unnest($1::text[], $2::bigint[]) AS k (tenant_id, id)
JOIN contacts r ON r.tenant_id = k.tenant_id AND r.id = k.id`
	findExternalIDs = `SELECT x.tenant_id, x.source_system, x.entity_type, x.ordinavo_id, x.external_id
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS k (tenant_id, source_system, entity_type, ordinavo_id)
JOIN external_ids x ON x.tenant_id = k.tenant_id AND x.source_system = k.source_system AND x.entity_type = k.entity_type AND x.ordinavo_id = k.ordinavo_id`
)

// Resolve looks up directory records and external IDs.
func (s *Store) Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	contexts, _, err := s.ResolveFor(ctx, lookups, nil)
	return contexts, err
}

// LaneStates is the lanes' subscriptions as they are now. In a transaction they stay so until its end.
func (s *Store) LaneStates(ctx context.Context, lanes []dispatch.Lane) (map[dispatch.Lane]fanout.LaneState, error) {
	_, states, err := s.ResolveFor(ctx, nil, lanes)
	return states, err
}

// ResolveFor does both in one round trip. In a transaction it also fetches the transaction's ID, since whoever asks is about to write.
func (s *Store) ResolveFor(ctx context.Context, lookups []fanout.Lookup, lanes []dispatch.Lane) ([]payload.Context, map[dispatch.Lane]fanout.LaneState, error) {
	b, r, states := &pgx.Batch{}, newResolution(lookups), map[dispatch.Lane]fanout.LaneState{}
	r.queue(b)
	queueLaneStates(ctx, b, lanes, states)
	if b.Len() == 0 {
		return r.contexts(), states, nil
	}
	from := s.db.from(ctx)
	if tx, in := from.(*Tx); in {
		tx.willWrite(b)
	}
	if err := from.send(ctx, b); err != nil {
		return nil, nil, err
	}
	return r.contexts(), states, nil
}

// entity is a reference with its tenant.
type entity struct {
	tenant tenant.ID
	ref    payload.Ref
}

// mapped is an entity in one source system.
type mapped struct {
	entity
	sourceSystem string
}

// resolution is what several lookups ask for, without duplicates, and what was found.
type resolution struct {
	lookups     []fanout.Lookup
	customers   map[entity]*payload.Customer
	locations   map[entity]*payload.Location
	contacts    map[entity]*payload.Contact
	externalIDs map[mapped]*string
}

func newResolution(lookups []fanout.Lookup) *resolution {
	r := &resolution{lookups, map[entity]*payload.Customer{}, map[entity]*payload.Location{}, map[entity]*payload.Contact{}, map[mapped]*string{}}
	for _, l := range lookups {
		for _, ref := range l.References {
			e := entity{l.Tenant, ref}
			r.externalIDs[mapped{e, l.SourceSystem}] = nil
			switch ref.Kind {
			case payload.KindCustomer:
				r.customers[e] = nil
			case payload.KindLocation:
				r.locations[e] = nil
			case payload.KindContact:
				r.contacts[e] = nil
			case payload.KindTarget: // has no record, only external IDs
			}
		}
	}
	return r
}

func (r *resolution) queue(b *pgx.Batch) {
	queueFind(b, findCustomers, r.customers, func(rows pgx.Rows) error {
		owner, c := tenant.ID(""), payload.Customer{}
		err := rows.Scan(&owner, &c.ID, &c.CustomerNumber, &c.Name)
		r.customers[entity{owner, payload.Ref{Kind: payload.KindCustomer, ID: c.ID}}] = &c
		return err
	})
	queueFind(b, findLocations, r.locations, func(rows pgx.Rows) error {
		owner, l := tenant.ID(""), payload.Location{}
		err := rows.Scan(&owner, &l.ID, &l.Name, &l.City, &l.HasCoordinates)
		r.locations[entity{owner, payload.Ref{Kind: payload.KindLocation, ID: l.ID}}] = &l
		return err
	})
	queueFind(b, findContacts, r.contacts, func(rows pgx.Rows) error {
		owner, c := tenant.ID(""), payload.Contact{}
		err := rows.Scan(&owner, &c.ID, &c.DisplayName)
		r.contacts[entity{owner, payload.Ref{Kind: payload.KindContact, ID: c.ID}}] = &c
		return err
	})
	r.queueExternalIDs(b)
}

func queueFind[T any](b *pgx.Batch, sql string, wanted map[entity]*T, scan func(pgx.Rows) error) {
	if len(wanted) == 0 {
		return
	}
	tenants, ids := make([]string, 0, len(wanted)), make([]int64, 0, len(wanted))
	for e := range wanted {
		tenants, ids = append(tenants, string(e.tenant)), append(ids, e.ref.ID)
	}
	b.Queue(sql, tenants, ids).Query(rowByRow(scan))
}

func (r *resolution) queueExternalIDs(b *pgx.Batch) {
	if len(r.externalIDs) == 0 {
		return
	}
	var tenants, systems, kinds []string
	var ids []int64
	for m := range r.externalIDs {
		tenants, systems = append(tenants, string(m.tenant)), append(systems, m.sourceSystem)
		kinds, ids = append(kinds, string(m.ref.Kind)), append(ids, m.ref.ID)
	}
	b.Queue(findExternalIDs, tenants, systems, kinds, ids).Query(rowByRow(func(rows pgx.Rows) error {
		var m mapped
		var external string
		err := rows.Scan(&m.tenant, &m.sourceSystem, &m.ref.Kind, &m.ref.ID, &external)
		r.externalIDs[m] = &external
		return err
	}))
}

// contexts answers each lookup with what it asked for and nothing else.
func (r *resolution) contexts() []payload.Context {
	contexts := make([]payload.Context, len(r.lookups))
	for i, l := range r.lookups {
		c := &contexts[i]
		c.ExternalIDs = map[payload.Ref]string{}
		for _, ref := range l.References {
			e := entity{l.Tenant, ref}
			if external := r.externalIDs[mapped{e, l.SourceSystem}]; external != nil {
				c.ExternalIDs[ref] = *external
			}
			switch ref.Kind {
			case payload.KindCustomer:
				c.Customer = r.customers[e]
			case payload.KindLocation:
				c.Location = r.locations[e]
			case payload.KindContact:
				c.Contact = r.contacts[e]
			case payload.KindTarget:
			}
		}
	}
	return contexts
}
