package payload

import "github.com/ordinavo/webhooks/domain/event"

// EntityKind is what an external ID may belong to (contract, section 7).
type EntityKind string

// The kinds of entities with external IDs.
const (
	KindCustomer EntityKind = "customer"
	KindLocation EntityKind = "location"
	KindContact  EntityKind = "contact"
	KindTarget   EntityKind = "target"
)

// Known reports whether the kind is one of the four.
func (k EntityKind) Known() bool {
	switch k {
	case KindCustomer, KindLocation, KindContact, KindTarget:
		return true
	default:
		return false
	}
}

// Ref names an entity of a tenant by its Ordinavo id.
type Ref struct {
	Kind EntityKind
	ID   int64
}

// Customer is a customer record of the directory.
type Customer struct {
	ID             int64   `json:"ordinavoCustomerId"`
	CustomerNumber *string `json:"customerNumber,omitempty"`
	Name           *string `json:"name,omitempty"`
}

// Location is a location record of the directory; where exactly it is, the directory does not know.
type Location struct {
	ID             int64   `json:"ordinavoLocationId"`
	Name           *string `json:"name,omitempty"`
	City           *string `json:"city,omitempty"`
	HasCoordinates *bool   `json:"hasCoordinates,omitempty"`
}

// Contact is a contact record of the directory.
type Contact struct {
	ID          int64   `json:"ordinavoContactId"`
	DisplayName *string `json:"displayName,omitempty"`
}

// Context is what was resolved for an event, for ONE tenant and ONE source system. What is
// missing was not found.
type Context struct {
	Customer    *Customer
	Location    *Location
	Contact     *Contact
	ExternalIDs map[Ref]string
}

// References is the entities whose records and external IDs the body needs, in the body's order;
// for a target the external ID alone.
func References(e event.Event, o Options) []Ref {
	var refs []Ref
	add := func(wanted bool, kind EntityKind, id *int64) {
		if wanted && id != nil {
			refs = append(refs, Ref{kind, *id})
		}
	}
	hasContext := e.Type.HasCustomerContext() && o.CustomerContext
	add(hasContext, KindCustomer, e.CustomerID)
	add(hasContext, KindLocation, e.LocationID)
	add(hasContext && o.ContactDetails, KindContact, e.ContactID)
	if e.Target != nil && e.Type.Carries(event.BlockTarget) {
		add(true, KindTarget, &e.Target.ID)
	}
	return refs
}
