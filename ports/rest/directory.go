package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
)

// DirectoryBatch is records to be written together.
type DirectoryBatch struct {
	Customers   []Customer   `json:"customers,omitempty" maxItems:"5000"`
	Locations   []Location   `json:"locations,omitempty" maxItems:"5000"`
	Contacts    []Contact    `json:"contacts,omitempty" maxItems:"5000"`
	ExternalIDs []ExternalID `json:"externalIds,omitempty" maxItems:"5000"`
}

// Upserted counts what a batch wrote.
type Upserted struct {
	Upserted DirectoryCounts `json:"upserted"`
}

// DirectoryCounts is a number for each kind of record.
type DirectoryCounts struct {
	Customers   int `json:"customers"`
	Locations   int `json:"locations"`
	Contacts    int `json:"contacts"`
	ExternalIDs int `json:"externalIds"`
}

// UpsertedOutput is Upserted as an answer.
type UpsertedOutput struct{ Body Upserted }

// ExternalID is what a source system calls an entity.
type ExternalID struct {
	SourceSystem string `json:"sourceSystem" maxLength:"64" example:"sap"`
	EntityType   string `json:"entityType" enum:"customer,location,contact,target"`
	OrdinavoID   int64  `json:"ordinavoId" minimum:"1" maximum:"9007199254740991" example:"12"`
	ExternalID   string `json:"externalId" maxLength:"200" example:"CUST-10042"`
}

// ExternalIDOutput is an external ID as an answer.
type ExternalIDOutput struct{ Body ExternalID }

type directoryInput struct{ Body DirectoryBatch }

type externalIDInput struct{ Body ExternalID }

type externalIDRef struct {
	SourceSystem string `query:"sourceSystem" required:"true" maxLength:"64"`
	EntityType   string `query:"entityType" required:"true" enum:"customer,location,contact,target"`
	OrdinavoID   int64  `query:"ordinavoId" required:"true" minimum:"1" maximum:"9007199254740991"`
}

func (r externalIDRef) ref() payload.Ref {
	return payload.Ref{Kind: payload.EntityKind(r.EntityType), ID: r.OrdinavoID}
}

// directoryOperation is what the routes of the directory have in common.
func directoryOperation(method, id, path, summary string, example any) operation {
	o := operation{id: id, method: method, path: "/v1/directory" + path, tag: tagDirectory, scope: access.DirectoryWrite, perTenant: true,
		summary: summary, example: example, maxBody: maxBody}
	if method == http.MethodDelete {
		o.status = http.StatusNoContent
	}
	return o
}

func (a *API) routeDirectory() {
	external := map[string]any{"sourceSystem": "sap", "entityType": "customer", "ordinavoId": 12, "externalId": "CUST-10042"}
	batch := directoryOperation(http.MethodPost, "upsertDirectory", "", "Write many records, all or none (at most 5,000)", map[string]any{
		"customers": []any{map[string]any{"ordinavoCustomerId": 12, "customerNumber": "RRM-001", "name": "Rhein-Ruhr Medical Supply"}},
		"locations": []any{map[string]any{"ordinavoLocationId": 34, "name": "Essen Center", "city": "Essen", "hasCoordinates": true}},
		"contacts":  []any{map[string]any{"ordinavoContactId": 56, "displayName": "Anna Weber"}}, "externalIds": []any{external}})
	batch.mostValues = maxBatchValues
	register(a, batch, a.upsertDirectory)
	register(a, directoryOperation(http.MethodPut, "putExternalId", "/external-ids", "Write an external ID", external), a.putExternalID)
	register(a, directoryOperation(http.MethodGet, "getExternalId", "/external-ids", "Get an external ID", nil), a.getExternalID)
	register(a, directoryOperation(http.MethodDelete, "deleteExternalId", "/external-ids", "Delete an external ID", nil), a.deleteExternalID)
	a.routeRecords()
}

func (a *API) upsertDirectory(ctx context.Context, in *directoryInput) (*UpsertedOutput, error) {
	var batch directory.Batch
	for _, c := range in.Body.Customers {
		batch.Customers = append(batch.Customers, payload.Customer(c))
	}
	for _, l := range in.Body.Locations {
		batch.Locations = append(batch.Locations, payload.Location(l))
	}
	for _, c := range in.Body.Contacts {
		batch.Contacts = append(batch.Contacts, payload.Contact(c))
	}
	for _, x := range in.Body.ExternalIDs {
		batch.ExternalIDs = append(batch.ExternalIDs, x.domain())
	}
	if err := a.upsert(ctx, batch, ""); err != nil {
		return nil, err
	}
	return &UpsertedOutput{Upserted{DirectoryCounts{len(batch.Customers), len(batch.Locations), len(batch.Contacts), len(batch.ExternalIDs)}}}, nil
}

func (x ExternalID) domain() directory.ExternalID {
	return directory.ExternalID{SourceSystem: x.SourceSystem, EntityType: payload.EntityKind(x.EntityType), OrdinavoID: x.OrdinavoID, ExternalID: x.ExternalID}
}

// upsert validates and writes a batch; the prefix is cut off the paths of fields that it refuses.
func (a *API) upsert(ctx context.Context, batch directory.Batch, prefix string) error {
	fields := problem.Collect("")
	batch.Validate(fields)
	if found := fieldsOf(fields.Err()); found != nil {
		plain := problem.Collect("")
		for path, messages := range found {
			path = strings.TrimPrefix(path, prefix)
			if path == "" {
				path = wholeBody
			}
			plain.Add(path, "%s", strings.Join(messages, ", "))
		}
		return plain.Err()
	}
	return a.Directory.Upsert(ctx, ownerOf(ctx), batch)
}

func (a *API) putExternalID(ctx context.Context, in *externalIDInput) (*ExternalIDOutput, error) {
	if err := a.upsert(ctx, directory.Batch{ExternalIDs: []directory.ExternalID{in.Body.domain()}}, "externalIds[0]."); err != nil {
		return nil, err
	}
	return &ExternalIDOutput{in.Body}, nil
}

func (a *API) getExternalID(ctx context.Context, in *externalIDRef) (*ExternalIDOutput, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	found, err := a.Directory.ExternalID(ctx, ownerOf(ctx), in.SourceSystem, in.ref())
	if err != nil {
		return nil, err
	}
	return &ExternalIDOutput{ExternalID{in.SourceSystem, in.EntityType, in.OrdinavoID, found}}, nil
}

func (a *API) deleteExternalID(ctx context.Context, in *externalIDRef) (*struct{}, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	return once(ctx, a, http.StatusNoContent, func(ctx context.Context) (*struct{}, error) {
		return &struct{}{}, a.Directory.DeleteExternalID(ctx, ownerOf(ctx), in.SourceSystem, in.ref())
	})
}

func (r externalIDRef) check() error {
	fields := problem.Collect("")
	directory.ValidateKey(fields, r.SourceSystem, r.ref())
	return fields.Err()
}
