package storetest

import (
	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var (
	customer12 = payload.Ref{Kind: payload.KindCustomer, ID: 12}
	location12 = payload.Ref{Kind: payload.KindLocation, ID: 12}
	contact12  = payload.Ref{Kind: payload.KindContact, ID: 12}
	target12   = payload.Ref{Kind: payload.KindTarget, ID: 12}
	all12      = []payload.Ref{customer12, location12, contact12, target12}
)

// named is a batch in which every text says whose it is.
func named(owner string) directory.Batch {
	b := directory.Batch{
		Customers: []payload.Customer{{ID: 12, CustomerNumber: new(owner + " number"), Name: new(owner + " customer")}},
		Locations: []payload.Location{{ID: 12, Name: new(owner + " location"), City: new(owner + " city"), HasCoordinates: new(true)}},
		Contacts:  []payload.Contact{{ID: 12, DisplayName: new(owner + " contact")}},
	}
	for _, system := range []string{"sap", "datev"} {
		for _, ref := range all12 {
			b.ExternalIDs = append(b.ExternalIDs, directory.ExternalID{SourceSystem: system, EntityType: ref.Kind, OrdinavoID: ref.ID, ExternalID: externalID(owner, system, ref)})
		}
	}
	return b
}

func externalID(owner, system string, ref payload.Ref) string {
	return owner + " " + system + " " + string(ref.Kind)
}

// resolved is what all12 comes to after named(owner).
func resolved(owner, system string) payload.Context {
	b := named(owner)
	c := payload.Context{Customer: &b.Customers[0], Location: &b.Locations[0], Contact: &b.Contacts[0], ExternalIDs: map[payload.Ref]string{}}
	for _, ref := range all12 {
		c.ExternalIDs[ref] = externalID(owner, system, ref)
	}
	return c
}

func (w *world) upsert(owner tenant.ID, b directory.Batch) {
	w.Helper()
	w.ok(w.Upsert(w.ctx, owner, b), "write the directory of "+string(owner))
}

var directoryChecks = []Check{
	{"directory/the same IDs in two tenants and two source systems", func(w *world) {
		w.upsert(acme, named("acme"))
		w.upsert(other, named("other"))
		var lookups []fanout.Lookup
		var want []payload.Context
		for _, owner := range []tenant.ID{acme, other, acme} {
			for _, system := range []string{"datev", "sap"} {
				lookups = append(lookups, fanout.Lookup{Tenant: owner, SourceSystem: system, References: all12})
				want = append(want, resolved(string(owner), system))
			}
		}
		got, err := w.Resolve(w.ctx, lookups)
		w.ok(err, "resolve")
		equal(w, "what was resolved", got, want)
	}},
	{"directory/resolve only what was asked for", func(w *world) {
		w.upsert(acme, named("acme"))
		w.upsert(acme, directory.Batch{Customers: []payload.Customer{{ID: 13}}})
		nowhere := payload.Ref{Kind: payload.KindLocation, ID: 99}
		got, err := w.Resolve(w.ctx, []fanout.Lookup{
			{Tenant: acme, SourceSystem: "sap", References: []payload.Ref{customer12, nowhere}},
			{Tenant: acme, SourceSystem: "unknown", References: []payload.Ref{contact12, target12}},
			{Tenant: acme, SourceSystem: "sap"},
			{Tenant: acme, SourceSystem: "sap", References: []payload.Ref{{Kind: payload.KindCustomer, ID: 13}}},
			{Tenant: "nobody", SourceSystem: "sap", References: all12},
		})
		w.ok(err, "resolve")
		whole, none := resolved("acme", "sap"), map[payload.Ref]string{}
		equal(w, "what was resolved", got, []payload.Context{
			{Customer: whole.Customer, ExternalIDs: map[payload.Ref]string{customer12: whole.ExternalIDs[customer12]}},
			{Contact: whole.Contact, ExternalIDs: none},
			{ExternalIDs: none},
			{Customer: &payload.Customer{ID: 13}, ExternalIDs: none},
			{ExternalIDs: none},
		})
		got, err = w.Resolve(w.ctx, nil)
		w.ok(err, "resolve nothing")
		equal(w, "nothing", len(got), 0)
	}},
	{"directory/records", func(w *world) {
		w.upsert(acme, named("acme"))
		beside := directory.Batch{Customers: []payload.Customer{{ID: 13}}, Locations: []payload.Location{{ID: 13}}, Contacts: []payload.Contact{{ID: 13}}}
		w.upsert(acme, beside)
		b := named("acme")
		for ref, want := range map[payload.Ref]payload.Context{
			customer12: {Customer: &b.Customers[0]}, location12: {Location: &b.Locations[0]}, contact12: {Contact: &b.Contacts[0]},
		} {
			got, err := w.Record(w.ctx, acme, ref)
			w.ok(err, "read a record")
			equal(w, "the record", got, want)
			w.ok(w.DeleteRecord(w.ctx, acme, ref), "delete the record")
			_, err = w.Record(w.ctx, acme, ref)
			w.refused(err, problem.NotFound, "read a deleted record")
			w.refused(w.DeleteRecord(w.ctx, acme, ref), problem.NotFound, "delete it again")
			_, err = w.Record(w.ctx, acme, payload.Ref{Kind: ref.Kind, ID: 13})
			w.ok(err, "read the one beside it")
		}
	}},
	{"directory/a second write replaces the first", func(w *world) {
		w.upsert(acme, named("acme"))
		b := directory.Batch{
			Customers:   []payload.Customer{{ID: 12, Name: new("renamed")}},
			Locations:   []payload.Location{{ID: 12, HasCoordinates: new(false)}},
			Contacts:    []payload.Contact{{ID: 12}},
			ExternalIDs: []directory.ExternalID{{SourceSystem: "sap", EntityType: payload.KindTarget, OrdinavoID: 12, ExternalID: "new"}},
		}
		w.upsert(acme, b)
		w.upsert(acme, b)
		got, err := w.Resolve(w.ctx, []fanout.Lookup{{Tenant: acme, SourceSystem: "sap", References: all12}})
		w.ok(err, "resolve")
		want := payload.Context{Customer: &b.Customers[0], Location: &b.Locations[0], Contact: &b.Contacts[0], ExternalIDs: resolved("acme", "sap").ExternalIDs}
		want.ExternalIDs[target12] = "new"
		equal(w, "what was resolved", got, []payload.Context{want})
	}},
	{"directory/external IDs", func(w *world) {
		w.upsert(acme, named("acme"))
		target13 := payload.Ref{Kind: payload.KindTarget, ID: 13}
		w.upsert(acme, directory.Batch{ExternalIDs: []directory.ExternalID{{SourceSystem: "sap", EntityType: target13.Kind, OrdinavoID: target13.ID, ExternalID: "of 13"}}})
		for _, ref := range all12 {
			got, err := w.ExternalID(w.ctx, acme, "sap", ref)
			w.ok(err, "read an external ID")
			equal(w, "the external ID", got, externalID("acme", "sap", ref))
		}
		w.ok(w.DeleteExternalID(w.ctx, acme, "sap", target12), "delete one")
		_, err := w.ExternalID(w.ctx, acme, "sap", target12)
		w.refused(err, problem.NotFound, "read what was deleted")
		w.refused(w.DeleteExternalID(w.ctx, acme, "sap", target12), problem.NotFound, "delete it again")
		_, err = w.ExternalID(w.ctx, acme, "datev", target12)
		w.ok(err, "read the other source system's")
		got, err := w.ExternalID(w.ctx, acme, "sap", target13)
		w.ok(err, "read the other target's")
		equal(w, "the other target's", got, "of 13")
		_, err = w.ExternalID(w.ctx, acme, "sap", customer12)
		w.ok(err, "read the customer's of that ID")
	}},
	{"directory/a tenant that does not exist", func(w *world) {
		w.refused(w.Upsert(w.ctx, "nobody", named("nobody")), problem.NotFound, "write for nobody")
		w.refused(w.Upsert(w.ctx, "nobody", directory.Batch{}), problem.NotFound, "write nothing for nobody")
	}},
}
