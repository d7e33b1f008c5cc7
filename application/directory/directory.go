// Package directory keeps what rendering looks up: customers, locations, contacts, and the external ID by which each source
// system of a tenant knows an entity.
package directory

import (
	"context"

	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// ExternalID is the name of an entity in one source system of one tenant.
type ExternalID struct {
	SourceSystem string             `json:"sourceSystem"`
	EntityType   payload.EntityKind `json:"entityType"`
	OrdinavoID   int64              `json:"ordinavoId"`
	ExternalID   string             `json:"externalId"`
}

// Batch is records to be written together.
type Batch struct {
	Customers   []payload.Customer
	Locations   []payload.Location
	Contacts    []payload.Contact
	ExternalIDs []ExternalID
}

// Store keeps the directory.
type Store interface {
	// Upsert writes all of the batch or nothing; problem.NotFound for a tenant that does not exist.
	Upsert(ctx context.Context, owner tenant.ID, b Batch) error
	// Record finds one customer, location or contact; problem.NotFound when it is not there.
	Record(ctx context.Context, owner tenant.ID, ref payload.Ref) (payload.Context, error)
	// DeleteRecord removes one; problem.NotFound when it is not there.
	DeleteRecord(ctx context.Context, owner tenant.ID, ref payload.Ref) error
	// ExternalID finds the mapping; problem.NotFound when there is none.
	ExternalID(ctx context.Context, owner tenant.ID, sourceSystem string, ref payload.Ref) (string, error)
	DeleteExternalID(ctx context.Context, owner tenant.ID, sourceSystem string, ref payload.Ref) error
}

// Bounds of the directory.
const (
	MaxBatch            = 5000 // records in one request
	maxTextLength       = 200  // characters
	maxExternalIDLength = 200
	maxSourceSystem     = 64
	maxID               = 1<<53 - 1 // what every JSON reader can hold
)

// Validate notes every field that is out of bounds.
func (b Batch) Validate(into problem.Fields) {
	if n := len(b.Customers) + len(b.Locations) + len(b.Contacts) + len(b.ExternalIDs); n > MaxBatch {
		into.Add("", "has %d records, at most %d are allowed", n, MaxBatch)
		return
	}
	for i, c := range b.Customers {
		at := into.Under("customers").Under(problem.Index(i))
		checkID(at, "ordinavoCustomerId", c.ID)
		checkText(at, "customerNumber", c.CustomerNumber, maxTextLength)
		checkText(at, "name", c.Name, maxTextLength)
	}
	for i, l := range b.Locations {
		at := into.Under("locations").Under(problem.Index(i))
		checkID(at, "ordinavoLocationId", l.ID)
		checkText(at, "name", l.Name, maxTextLength)
		checkText(at, "city", l.City, maxTextLength)
	}
	for i, c := range b.Contacts {
		at := into.Under("contacts").Under(problem.Index(i))
		checkID(at, "ordinavoContactId", c.ID)
		checkText(at, "displayName", c.DisplayName, maxTextLength)
	}
	for i, x := range b.ExternalIDs {
		x.validate(into.Under("externalIds").Under(problem.Index(i)))
	}
}

func (x ExternalID) validate(into problem.Fields) {
	ValidateKey(into, x.SourceSystem, payload.Ref{Kind: x.EntityType, ID: x.OrdinavoID})
	if x.ExternalID == "" {
		into.Add("externalId", "is missing")
	}
	checkText(into, "externalId", &x.ExternalID, maxExternalIDLength)
}

// ValidateKey notes what is wrong with the names that an external ID is found by.
func ValidateKey(into problem.Fields, sourceSystem string, ref payload.Ref) {
	if sourceSystem == "" {
		into.Add("sourceSystem", "is missing")
	}
	checkText(into, "sourceSystem", &sourceSystem, maxSourceSystem)
	if !ref.Kind.Known() {
		into.Add("entityType", "is none of customer, location, contact, target")
	}
	checkID(into, "ordinavoId", ref.ID)
}

func checkID(into problem.Fields, field string, id int64) {
	if id < 1 || id > maxID {
		into.Add(field, "must be a whole number from 1 to 9007199254740991")
	}
}

func checkText(into problem.Fields, field string, text *string, longest int) {
	if text != nil {
		into.CheckText(field, *text, longest)
	}
}
