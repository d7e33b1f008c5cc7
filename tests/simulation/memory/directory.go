package memory

import (
	"context"

	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func recordKey(owner tenant.ID, ref payload.Ref) key {
	return keyOf(owner, string(ref.Kind), number(ref.ID))
}

func externalKey(owner tenant.ID, system string, ref payload.Ref) key {
	return keyOf(owner, system, string(ref.Kind)+"/"+number(ref.ID))
}

// Upsert writes all of the batch or nothing.
func (s *Store) Upsert(ctx context.Context, owner tenant.ID, b directory.Batch) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		_, found := s.tenants.get(keyOf(owner))
		if err := orNotFound(nil, found, "tenant"); err != nil {
			return err
		}
		for _, c := range b.Customers {
			s.records.put(tx, recordKey(owner, payload.Ref{Kind: payload.KindCustomer, ID: c.ID}), payload.Context{Customer: &c})
		}
		for _, l := range b.Locations {
			s.records.put(tx, recordKey(owner, payload.Ref{Kind: payload.KindLocation, ID: l.ID}), payload.Context{Location: &l})
		}
		for _, c := range b.Contacts {
			s.records.put(tx, recordKey(owner, payload.Ref{Kind: payload.KindContact, ID: c.ID}), payload.Context{Contact: &c})
		}
		for _, x := range b.ExternalIDs {
			s.externalIDs.put(tx, externalKey(owner, x.SourceSystem, payload.Ref{Kind: x.EntityType, ID: x.OrdinavoID}), x.ExternalID)
		}
		return nil
	})
}

// Record finds one customer, location or contact.
func (s *Store) Record(ctx context.Context, owner tenant.ID, ref payload.Ref) (payload.Context, error) {
	done, err := s.read(ctx)
	defer done()
	c, found := s.records.get(recordKey(owner, ref))
	return c, orNotFound(err, found, string(ref.Kind))
}

// DeleteRecord removes one customer, location or contact.
func (s *Store) DeleteRecord(ctx context.Context, owner tenant.ID, ref payload.Ref) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		return orNotFound(nil, s.records.drop(tx, recordKey(owner, ref)), string(ref.Kind))
	})
}

// ExternalID finds the mapping.
func (s *Store) ExternalID(ctx context.Context, owner tenant.ID, sourceSystem string, ref payload.Ref) (string, error) {
	done, err := s.read(ctx)
	defer done()
	id, found := s.externalIDs.get(externalKey(owner, sourceSystem, ref))
	return id, orNotFound(err, found, "external ID")
}

// DeleteExternalID removes the mapping.
func (s *Store) DeleteExternalID(ctx context.Context, owner tenant.ID, sourceSystem string, ref payload.Ref) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		return orNotFound(nil, s.externalIDs.drop(tx, externalKey(owner, sourceSystem, ref)), "external ID")
	})
}

// Resolve looks up directory records and external IDs.
func (s *Store) Resolve(ctx context.Context, lookups []fanout.Lookup) ([]payload.Context, error) {
	done, err := s.read(ctx)
	defer done()
	contexts := make([]payload.Context, len(lookups))
	for i, l := range lookups {
		c := payload.Context{ExternalIDs: map[payload.Ref]string{}}
		for _, ref := range l.References {
			found := s.records.rows[recordKey(l.Tenant, ref)]
			switch ref.Kind {
			case payload.KindCustomer:
				c.Customer = found.Customer
			case payload.KindLocation:
				c.Location = found.Location
			case payload.KindContact:
				c.Contact = found.Contact
			case payload.KindTarget: // has no record, only external IDs
			}
			if id, known := s.externalIDs.get(externalKey(l.Tenant, l.SourceSystem, ref)); known {
				c.ExternalIDs[ref] = id
			}
		}
		contexts[i] = c
	}
	return contexts, err
}
