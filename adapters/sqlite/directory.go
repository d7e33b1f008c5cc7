package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const (
	upsertCustomer = `INSERT INTO customers (tenant_id, id, customer_number, name) VALUES (?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET customer_number = excluded.customer_number, name = excluded.name`
	upsertLocation = `INSERT INTO locations (tenant_id, id, name, city, has_coordinates) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET name = excluded.name, city = excluded.city, has_coordinates = excluded.has_coordinates`
	upsertContact = `INSERT INTO contacts (tenant_id, id, display_name) VALUES (?, ?, ?)
		ON CONFLICT DO UPDATE SET display_name = excluded.display_name`
	upsertExternalID = `INSERT INTO external_ids (tenant_id, source_system, entity_type, ordinavo_id, external_id) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT DO UPDATE SET external_id = excluded.external_id`
)

// Upsert writes the whole batch or nothing.
func (s *Store) Upsert(ctx context.Context, owner tenant.ID, b directory.Batch) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		if _, err := s.Tenant(ctx, owner); err != nil {
			return err
		}
		var err error
		write := func(query string, args ...any) {
			if err == nil {
				_, err = tx.Exec(ctx, query, append([]any{owner}, args...)...)
			}
		}
		for _, c := range b.Customers {
			write(upsertCustomer, c.ID, c.CustomerNumber, c.Name)
		}
		for _, l := range b.Locations {
			write(upsertLocation, l.ID, l.Name, l.City, l.HasCoordinates)
		}
		for _, c := range b.Contacts {
			write(upsertContact, c.ID, c.DisplayName)
		}
		for _, x := range b.ExternalIDs {
			write(upsertExternalID, x.SourceSystem, x.EntityType, x.OrdinavoID, x.ExternalID)
		}
		return err
	})
}

// directoryTables is the table of each kind; targets are not in the directory.
var directoryTables = map[payload.EntityKind]string{
	payload.KindCustomer: "customers", payload.KindLocation: "locations", payload.KindContact: "contacts",
}

// Record finds one customer, location or contact.
func (s *Store) Record(ctx context.Context, owner tenant.ID, ref payload.Ref) (c payload.Context, err error) {
	err = s.record(ctx, owner, ref, &c)
	if err == nil && c.Customer == nil && c.Location == nil && c.Contact == nil {
		err = problem.New(problem.NotFound, "There is no such %s.", ref.Kind)
	}
	return c, err
}

// record puts the record into c, which stays as it is if there is none.
func (s *Store) record(ctx context.Context, owner tenant.ID, ref payload.Ref, c *payload.Context) (err error) {
	switch ref.Kind {
	case payload.KindCustomer:
		c.Customer, err = optional(ctx, s.db, func(r *sql.Rows) (d payload.Customer, err error) {
			return d, r.Scan(&d.ID, &d.CustomerNumber, &d.Name)
		}, `SELECT id, customer_number, name FROM customers WHERE tenant_id = ? AND id = ?`, owner, ref.ID)
	case payload.KindLocation:
		c.Location, err = optional(ctx, s.db, func(r *sql.Rows) (d payload.Location, err error) {
			return d, r.Scan(&d.ID, &d.Name, &d.City, &d.HasCoordinates)
		}, `SELECT id, name, city, has_coordinates FROM locations WHERE tenant_id = ? AND id = ?`, owner, ref.ID)
	case payload.KindContact:
		c.Contact, err = optional(ctx, s.db, func(r *sql.Rows) (d payload.Contact, err error) {
			return d, r.Scan(&d.ID, &d.DisplayName)
		}, `SELECT id, display_name FROM contacts WHERE tenant_id = ? AND id = ?`, owner, ref.ID)
	case payload.KindTarget: // has no record, only external IDs
	}
	return err
}

// optional is a row that may be missing.
func optional[T any](ctx context.Context, from reader, scan func(*sql.Rows) (T, error), query string, args ...any) (*T, error) {
	found, err := one(ctx, from, scan, query, args...)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return &found, err
}

// DeleteRecord removes one customer, location or contact.
func (s *Store) DeleteRecord(ctx context.Context, owner tenant.ID, ref payload.Ref) error {
	table, known := directoryTables[ref.Kind]
	if !known {
		return fmt.Errorf("delete from the directory: no table of %s", ref.Kind)
	}
	return s.mustChange(ctx, string(ref.Kind), `DELETE FROM `+table+` WHERE tenant_id = ? AND id = ?`, owner, ref.ID)
}

// ExternalID finds the mapping.
func (s *Store) ExternalID(ctx context.Context, owner tenant.ID, sourceSystem string, ref payload.Ref) (string, error) {
	id, err := one(ctx, s.db, value[string],
		`SELECT external_id FROM external_ids WHERE tenant_id = ? AND source_system = ? AND entity_type = ? AND ordinavo_id = ?`,
		owner, sourceSystem, ref.Kind, ref.ID)
	return id, notFound(err, "external ID")
}

// DeleteExternalID removes the mapping.
func (s *Store) DeleteExternalID(ctx context.Context, owner tenant.ID, sourceSystem string, ref payload.Ref) error {
	return s.mustChange(ctx, "external ID", `DELETE FROM external_ids
		WHERE tenant_id = ? AND source_system = ? AND entity_type = ? AND ordinavo_id = ?`, owner, sourceSystem, ref.Kind, ref.ID)
}

// CROSS JOIN keeps SQLite from walking all external IDs of the source system to find the few that are asked for.
const resolveExternalIDs = `SELECT x.entity_type, x.ordinavo_id, x.external_id FROM json_each(?) k
CROSS JOIN external_ids x ON x.tenant_id = ? AND x.source_system = ? AND x.entity_type = k.value ->> 'Kind' AND x.ordinavo_id = k.value ->> 'ID'`

// Resolve looks up directory records and external IDs; equal lookups are made once.
func (s *Store) Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	contexts := make([]payload.Context, len(lookups))
	known := map[string]payload.Context{}
	for i, l := range lookups {
		references, err := json.Marshal(l.References)
		if err != nil {
			return nil, err
		}
		key := string(l.Tenant) + "\x00" + l.SourceSystem + "\x00" + string(references)
		c, ok := known[key]
		if !ok {
			if c, err = s.resolve(ctx, l, string(references)); err != nil {
				return nil, err
			}
			known[key] = c
		}
		contexts[i] = c
	}
	return contexts, nil
}

func (s *Store) resolve(ctx context.Context, l fanout.Lookup, references string) (c payload.Context, err error) {
	for _, ref := range l.References {
		if err := s.record(ctx, l.Tenant, ref, &c); err != nil {
			return c, fmt.Errorf("look up %s %d: %w", ref.Kind, ref.ID, err)
		}
	}
	c.ExternalIDs = map[payload.Ref]string{}
	err = s.db.query(ctx, func(r *sql.Rows) error {
		var ref payload.Ref
		var id string
		err := r.Scan(&ref.Kind, &ref.ID, &id)
		c.ExternalIDs[ref] = id
		return err
	}, resolveExternalIDs, references, l.Tenant, l.SourceSystem)
	return c, err
}
