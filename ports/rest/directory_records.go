package rest

import (
	"context"
	"net/http"

	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
)

// Customer is a customer record.
type Customer struct {
	ID             int64   `json:"ordinavoCustomerId" minimum:"1" maximum:"9007199254740991" example:"12"`
	CustomerNumber *string `json:"customerNumber,omitempty" nullable:"true" maxLength:"200" example:"RRM-001"`
	Name           *string `json:"name,omitempty" nullable:"true" maxLength:"200" example:"Rhein-Ruhr Medical Supply"`
}

// Location is a location record; it never holds the coordinates.
type Location struct {
	ID             int64   `json:"ordinavoLocationId" minimum:"1" maximum:"9007199254740991" example:"34"`
	Name           *string `json:"name,omitempty" nullable:"true" maxLength:"200" example:"Essen Center"`
	City           *string `json:"city,omitempty" nullable:"true" maxLength:"200" example:"Essen"`
	HasCoordinates *bool   `json:"hasCoordinates,omitempty" nullable:"true"`
}

// Contact is a contact record.
type Contact struct {
	ID          int64   `json:"ordinavoContactId" minimum:"1" maximum:"9007199254740991" example:"56"`
	DisplayName *string `json:"displayName,omitempty" nullable:"true" maxLength:"200" example:"Anna Weber"`
}

// CustomerFields is a customer without its id, which is in the path; it may be repeated.
type CustomerFields struct {
	ID             int64   `json:"ordinavoCustomerId,omitempty" minimum:"1" maximum:"9007199254740991"`
	CustomerNumber *string `json:"customerNumber,omitempty" nullable:"true" maxLength:"200" example:"RRM-001"`
	Name           *string `json:"name,omitempty" nullable:"true" maxLength:"200" example:"Rhein-Ruhr Medical Supply"`
}

// LocationFields is a location without its id, which is in the path; it may be repeated.
type LocationFields struct {
	ID             int64   `json:"ordinavoLocationId,omitempty" minimum:"1" maximum:"9007199254740991"`
	Name           *string `json:"name,omitempty" nullable:"true" maxLength:"200" example:"Essen Center"`
	City           *string `json:"city,omitempty" nullable:"true" maxLength:"200" example:"Essen"`
	HasCoordinates *bool   `json:"hasCoordinates,omitempty" nullable:"true"`
}

// ContactFields is a contact without its id, which is in the path; it may be repeated.
type ContactFields struct {
	ID          int64   `json:"ordinavoContactId,omitempty" minimum:"1" maximum:"9007199254740991"`
	DisplayName *string `json:"displayName,omitempty" nullable:"true" maxLength:"200" example:"Anna Weber"`
}

// RecordRef names a record in the path.
type RecordRef struct {
	ID int64 `path:"id" minimum:"1" maximum:"9007199254740991"`
}

type recordRef struct{ RecordRef }

type putRecord[B any] struct {
	RecordRef
	Body B
}

// RecordOutput is a record as an answer.
type RecordOutput[B any] struct{ Body B }

// kind is what differs between the three kinds of records.
type kind[F, V any] struct {
	of       payload.EntityKind
	name     string // in ids of operations and summaries
	path     string
	idField  string
	prefix   string // of its paths in a batch
	example  any
	batch    func(F) directory.Batch
	idOf     func(F) int64
	withID   func(F, int64) F
	view     func(payload.Context) V
	viewSent func(F) V
}

func (a *API) routeRecords() {
	routeRecord(a, kind[CustomerFields, Customer]{
		of: payload.KindCustomer, name: "Customer", path: "/customers/{id}", idField: "ordinavoCustomerId", prefix: "customers[0].",
		example: map[string]any{"customerNumber": "RRM-001", "name": "Rhein-Ruhr Medical Supply"},
		batch: func(f CustomerFields) directory.Batch {
			return directory.Batch{Customers: []payload.Customer{payload.Customer(f)}}
		},
		idOf:     func(f CustomerFields) int64 { return f.ID },
		withID:   func(f CustomerFields, id int64) CustomerFields { f.ID = id; return f },
		view:     func(c payload.Context) Customer { return Customer(*c.Customer) },
		viewSent: func(f CustomerFields) Customer { return Customer(f) },
	})
	routeRecord(a, kind[LocationFields, Location]{
		of: payload.KindLocation, name: "Location", path: "/locations/{id}", idField: "ordinavoLocationId", prefix: "locations[0].",
		example: map[string]any{"name": "Essen Center", "city": "Essen", "hasCoordinates": true},
		batch: func(f LocationFields) directory.Batch {
			return directory.Batch{Locations: []payload.Location{payload.Location(f)}}
		},
		idOf:     func(f LocationFields) int64 { return f.ID },
		withID:   func(f LocationFields, id int64) LocationFields { f.ID = id; return f },
		view:     func(c payload.Context) Location { return Location(*c.Location) },
		viewSent: func(f LocationFields) Location { return Location(f) },
	})
	routeRecord(a, kind[ContactFields, Contact]{
		of: payload.KindContact, name: "Contact", path: "/contacts/{id}", idField: "ordinavoContactId", prefix: "contacts[0].",
		example: map[string]any{"displayName": "Anna Weber"},
		batch: func(f ContactFields) directory.Batch {
			return directory.Batch{Contacts: []payload.Contact{payload.Contact(f)}}
		},
		idOf:     func(f ContactFields) int64 { return f.ID },
		withID:   func(f ContactFields, id int64) ContactFields { f.ID = id; return f },
		view:     func(c payload.Context) Contact { return Contact(*c.Contact) },
		viewSent: func(f ContactFields) Contact { return Contact(f) },
	})
}

func routeRecord[F, V any](a *API, k kind[F, V]) {
	register(a, directoryOperation(http.MethodPut, "put"+k.name, k.path, "Write one "+string(k.of), k.example),
		func(ctx context.Context, in *putRecord[F]) (*RecordOutput[V], error) {
			if sent := k.idOf(in.Body); sent != 0 && sent != in.ID {
				return nil, problem.Invalid(k.idField, "is not the id in the path")
			}
			fields := k.withID(in.Body, in.ID)
			if err := a.upsert(ctx, k.batch(fields), k.prefix); err != nil {
				return nil, err
			}
			return &RecordOutput[V]{k.viewSent(fields)}, nil
		})
	register(a, directoryOperation(http.MethodGet, "get"+k.name, k.path, "Get one "+string(k.of), nil),
		func(ctx context.Context, in *recordRef) (*RecordOutput[V], error) {
			found, err := a.Directory.Record(ctx, ownerOf(ctx), payload.Ref{Kind: k.of, ID: in.ID})
			if err != nil {
				return nil, err
			}
			return &RecordOutput[V]{k.view(found)}, nil
		})
	register(a, directoryOperation(http.MethodDelete, "delete"+k.name, k.path, "Delete one "+string(k.of), nil),
		func(ctx context.Context, in *recordRef) (*struct{}, error) {
			return once(ctx, a, http.StatusNoContent, func(ctx context.Context) (*struct{}, error) {
				return &struct{}{}, a.Directory.DeleteRecord(ctx, ownerOf(ctx), payload.Ref{Kind: k.of, ID: in.ID})
			})
		})
}
