package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// When a batch names a record twice, the last wins: DISTINCT ON takes the one with the highest place. Rows are written in key order,
// so that two batches cannot deadlock.
const (
	upsertCustomers = `INSERT INTO customers (tenant_id, id, customer_number, name)
SELECT DISTINCT ON (id) $1, id, customer_number, name
FROM unnest($2::bigint[], $3::text[], $4::text[]) WITH ORDINALITY AS r (id, customer_number, name, place) ORDER BY id, place DESC
ON CONFLICT (tenant_id, id) DO UPDATE SET customer_number = excluded.customer_number, name = excluded.name`

	upsertLocations = `INSERT INTO locations (tenant_id, id, name, city, has_coordinates)
SELECT DISTINCT ON (id) $1, id, name, city, has_coordinates
FROM unnest($2::bigint[], $3::text[], $4::text[], $5::boolean[]) WITH ORDINALITY AS r (id, name, city, has_coordinates, place) ORDER BY id, place DESC
ON CONFLICT (tenant_id, id) DO UPDATE SET name = excluded.name, city = excluded.city, has_coordinates = excluded.has_coordinates`

	upsertContacts = `INSERT INTO contacts (tenant_id, id, display_name)
SELECT DISTINCT ON (id) $1, id, display_name
FROM unnest($2::bigint[], $3::text[]) WITH ORDINALITY AS r (id, display_name, place) ORDER BY id, place DESC
ON CONFLICT (tenant_id, id) DO UPDATE SET display_name = excluded.display_name`

	upsertExternalIDs = `INSERT INTO external_ids (tenant_id, source_system, entity_type, ordinavo_id, external_id)
SELECT DISTINCT ON (source_system, entity_type, ordinavo_id) $1, source_system, entity_type, ordinavo_id, external_id
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::text[]) WITH ORDINALITY AS r (source_system, entity_type, ordinavo_id, external_id, place)
ORDER BY source_system, entity_type, ordinavo_id, place DESC
ON CONFLICT (tenant_id, source_system, entity_type, ordinavo_id) DO UPDATE SET external_id = excluded.external_id`
)

// Upsert writes the whole batch or nothing.
func (s *Store) Upsert(ctx context.Context, owner tenant.ID, batch directory.Batch) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := s.Tenant(ctx, owner); err != nil {
			return err
		}
		b := &pgx.Batch{}
		queueCustomers(b, owner, batch.Customers)
		queueLocations(b, owner, batch.Locations)
		queueContacts(b, owner, batch.Contacts)
		queueExternalIDs(b, owner, batch.ExternalIDs)
		return tx.write(ctx, b)
	})
}

func queueCustomers(b *pgx.Batch, owner tenant.ID, list []payload.Customer) {
	if len(list) == 0 {
		return
	}
	ids, numbers, names := make([]int64, len(list)), make([]*string, len(list)), make([]*string, len(list))
	for i, c := range list {
		ids[i], numbers[i], names[i] = c.ID, c.CustomerNumber, c.Name
	}
	b.Queue(upsertCustomers, owner, ids, numbers, names)
}

func queueLocations(b *pgx.Batch, owner tenant.ID, list []payload.Location) {
	if len(list) == 0 {
		return
	}
	ids, names, cities, coordinates := make([]int64, len(list)), make([]*string, len(list)), make([]*string, len(list)), make([]*bool, len(list))
	for i, l := range list {
		ids[i], names[i], cities[i], coordinates[i] = l.ID, l.Name, l.City, l.HasCoordinates
	}
	b.Queue(upsertLocations, owner, ids, names, cities, coordinates)
}

func queueContacts(b *pgx.Batch, owner tenant.ID, list []payload.Contact) {
	if len(list) == 0 {
		return
	}
	ids, names := make([]int64, len(list)), make([]*string, len(list))
	for i, c := range list {
		ids[i], names[i] = c.ID, c.DisplayName
	}
	b.Queue(upsertContacts, owner, ids, names)
}

func queueExternalIDs(b *pgx.Batch, owner tenant.ID, list []directory.ExternalID) {
	if len(list) == 0 {
		return
	}
	systems, kinds, ids, externals := make([]string, len(list)), make([]string, len(list)), make([]int64, len(list)), make([]string, len(list))
	for i, x := range list {
		systems[i], kinds[i], ids[i], externals[i] = x.SourceSystem, string(x.EntityType), x.OrdinavoID, x.ExternalID
	}
	b.Queue(upsertExternalIDs, owner, systems, kinds, ids, externals)
}

// directoryTables names each kind's table; targets are not in the directory.
var directoryTables = map[payload.EntityKind]string{
	payload.KindCustomer: "customers", payload.KindLocation: "locations", payload.KindContact: "contacts",
}

// Record finds one customer, location or contact.
func (s *Store) Record(ctx context.Context, owner tenant.ID, ref payload.Ref) (payload.Context, error) {
	found, err := s.Resolve(ctx, []fanout.Lookup{{Tenant: owner, References: []payload.Ref{ref}}})
	if err != nil {
		return payload.Context{}, err
	}
	c := found[0]
	if c.Customer == nil && c.Location == nil && c.Contact == nil {
		return payload.Context{}, problem.New(problem.NotFound, "There is no such %s.", ref.Kind)
	}
	c.ExternalIDs = nil
	return c, nil
}

// DeleteRecord removes one customer, location or contact.
func (s *Store) DeleteRecord(ctx context.Context, owner tenant.ID, ref payload.Ref) error {
	table, known := directoryTables[ref.Kind]
	if !known {
		return fmt.Errorf("delete from the directory: no table of %s", ref.Kind)
	}
	return s.mustChange(ctx, string(ref.Kind), `DELETE FROM `+table+` WHERE tenant_id = $1 AND id = $2`, owner, ref.ID)
}

// ExternalID finds the mapping.
func (s *Store) ExternalID(ctx context.Context, owner tenant.ID, sourceSystem string, ref payload.Ref) (string, error) {
	id, err := one(ctx, s.db.from(ctx), value[string],
		`SELECT external_id FROM external_ids WHERE tenant_id = $1 AND source_system = $2 AND entity_type = $3 AND ordinavo_id = $4`,
		owner, sourceSystem, ref.Kind, ref.ID)
	return id, notFound(err, "external ID")
}

// DeleteExternalID removes the mapping.
func (s *Store) DeleteExternalID(ctx context.Context, owner tenant.ID, sourceSystem string, ref payload.Ref) error {
	return s.mustChange(ctx, "external ID", `DELETE FROM external_ids
		WHERE tenant_id = $1 AND source_system = $2 AND entity_type = $3 AND ordinavo_id = $4`, owner, sourceSystem, ref.Kind, ref.ID)
}
