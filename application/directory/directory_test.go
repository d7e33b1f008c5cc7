package directory_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/domain/payload"
	"github.com/ordinavo/webhooks/domain/problem"
)

// wrong is the paths of the fields that are out of bounds.
func wrong(t *testing.T, b directory.Batch) []string {
	t.Helper()
	fields := problem.Collect("")
	b.Validate(fields)
	err := fields.Err()
	if err == nil {
		return nil
	}
	var refused *problem.Error
	if !errors.As(err, &refused) || refused.Code != problem.ValidationFailed {
		t.Fatalf("got %v", err)
	}
	return slices.Sorted(maps.Keys(refused.Fields))
}

func TestWhatIsWrongIsNamed(t *testing.T) {
	longest, tooLong, control := strings.Repeat("ü", 200), strings.Repeat("ü", 201), "a\x00b"
	sap := directory.ExternalID{SourceSystem: "sap", EntityType: payload.KindCustomer, OrdinavoID: 12, ExternalID: "C-1"}
	with := func(change func(*directory.ExternalID)) directory.Batch {
		x := sap
		change(&x)
		return directory.Batch{ExternalIDs: []directory.ExternalID{sap, x}}
	}
	for name, c := range map[string]struct {
		batch directory.Batch
		want  []string
	}{
		"nothing":           {directory.Batch{}, nil},
		"only an ID":        {directory.Batch{Customers: []payload.Customer{{ID: 1}}, Locations: []payload.Location{{ID: 1}}, Contacts: []payload.Contact{{ID: 1}}}, nil},
		"longest in runes":  {directory.Batch{Customers: []payload.Customer{{ID: 1<<53 - 1, Name: &longest}}}, nil},
		"customer":          {directory.Batch{Customers: []payload.Customer{{ID: 0, CustomerNumber: &tooLong, Name: &control}}}, []string{"customers[0].customerNumber", "customers[0].name", "customers[0].ordinavoCustomerId"}},
		"location":          {directory.Batch{Locations: []payload.Location{{ID: 1}, {ID: -1, Name: &tooLong, City: &control}}}, []string{"locations[1].city", "locations[1].name", "locations[1].ordinavoLocationId"}},
		"contact":           {directory.Batch{Contacts: []payload.Contact{{ID: 1 << 53, DisplayName: &tooLong}}}, []string{"contacts[0].displayName", "contacts[0].ordinavoContactId"}},
		"external ID":       {with(func(*directory.ExternalID) {}), nil},
		"no source system":  {with(func(x *directory.ExternalID) { x.SourceSystem = "" }), []string{"externalIds[1].sourceSystem"}},
		"source system":     {with(func(x *directory.ExternalID) { x.SourceSystem = strings.Repeat("s", 65) }), []string{"externalIds[1].sourceSystem"}},
		"unknown entity":    {with(func(x *directory.ExternalID) { x.EntityType = "invoice" }), []string{"externalIds[1].entityType"}},
		"entity's ID":       {with(func(x *directory.ExternalID) { x.OrdinavoID = 0 }), []string{"externalIds[1].ordinavoId"}},
		"no external ID":    {with(func(x *directory.ExternalID) { x.ExternalID = "" }), []string{"externalIds[1].externalId"}},
		"external ID's end": {with(func(x *directory.ExternalID) { x.ExternalID = tooLong }), []string{"externalIds[1].externalId"}},
	} {
		if got := wrong(t, c.batch); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// Every kind counts, and what is too much is not looked at one by one.
func TestABatchIsBounded(t *testing.T) {
	full := directory.Batch{Customers: make([]payload.Customer, directory.MaxBatch-1), Contacts: []payload.Contact{{ID: 1}}}
	for i := range full.Customers {
		full.Customers[i].ID = int64(i + 1)
	}
	if got := wrong(t, full); got != nil {
		t.Errorf("a full one: %q", got)
	}
	full.ExternalIDs = make([]directory.ExternalID, 1)
	if got := wrong(t, full); !slices.Equal(got, []string{""}) {
		t.Errorf("one more: %q", got)
	}
}
