package preview

import (
	"fmt"

	"github.com/ordinavo/webhooks/domain/payload"
)

// Source says where a value of a body comes from.
type Source string

// The sources. Everything else in the body comes from the event itself.
const (
	SourceDirectory Source = "directory"
	SourceMapping   Source = "mapping"
	SourceNone      Source = "none" // nothing was found, and the value is null
)

// Origin says where a value of the body comes from that the event does not carry.
type Origin struct {
	Path   string // in the body, like customer.externalId
	Value  any    // a string, a bool, or nil
	Source Source
	Detail string // in words
}

// origins lists, in the body's order, every value that was looked up.
func (d *draft) origins() []Origin {
	list := []Origin{}
	for _, ref := range payload.References(d.event, d.view.Options) {
		list = append(list, d.mapping(ref))
		list = append(list, d.record(ref)...)
	}
	return list
}

func (d *draft) mapping(ref payload.Ref) Origin {
	origin := Origin{Path: string(ref.Kind) + ".externalId"}
	external, found := d.context.ExternalIDs[ref]
	switch {
	case found:
		origin.Value, origin.Source = external, SourceMapping
		origin.Detail = fmt.Sprintf("mapping of %s %d for source system %s", ref.Kind, ref.ID, d.sub.SourceSystem)
	case d.sub.SourceSystem == "":
		origin.Source, origin.Detail = SourceNone, "none: the subscription names no source system"
	default:
		origin.Source = SourceNone
		origin.Detail = fmt.Sprintf("none found: there is no mapping of %s %d for source system %s", ref.Kind, ref.ID, d.sub.SourceSystem)
	}
	return origin
}

// record is the fields that a body takes from the entity's directory record.
func (d *draft) record(ref payload.Ref) []Origin {
	switch ref.Kind {
	case payload.KindCustomer:
		record := valueOr(d.context.Customer)
		return d.fields(ref, record.ID, named{"customerNumber", text(record.CustomerNumber)}, named{"name", text(record.Name)})
	case payload.KindLocation:
		record := valueOr(d.context.Location)
		return d.fields(ref, record.ID, named{"name", text(record.Name)}, named{"city", text(record.City)}, named{"hasCoordinates", boolean(record.HasCoordinates)})
	case payload.KindContact:
		record := valueOr(d.context.Contact)
		return d.fields(ref, record.ID, named{"displayName", text(record.DisplayName)})
	case payload.KindTarget: // the directory keeps no targets
	}
	return nil
}

type named struct {
	name  string
	value any
}

func (d *draft) fields(ref payload.Ref, recordID int64, values ...named) (list []Origin) {
	for _, v := range values {
		origin := Origin{Path: string(ref.Kind) + "." + v.name, Value: v.value, Source: SourceDirectory, Detail: fmt.Sprintf("%s record %d", ref.Kind, ref.ID)}
		switch {
		case recordID != ref.ID:
			origin.Value, origin.Source = nil, SourceNone
			origin.Detail = fmt.Sprintf("none found: there is no %s record %d", ref.Kind, ref.ID)
		case v.value == nil:
			origin.Source = SourceNone
			origin.Detail = fmt.Sprintf("none: %s record %d has no %s", ref.Kind, ref.ID, v.name)
		}
		list = append(list, origin)
	}
	return list
}

func valueOr[T any](record *T) (none T) {
	if record == nil {
		return none
	}
	return *record
}

func text(value *string) any {
	if value == nil {
		return nil
	}
	return *value
}

func boolean(value *bool) any {
	if value == nil {
		return nil
	}
	return *value
}
