package rest

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Bounds of one request (contract, section 5).
const (
	maxEvents = 1000
	maxLines  = 10_000 // of NDJSON
)

// decodeEvents reads one event, or {"events": [...]}. It notes every field of a wrong type in fields and goes on; an error means that the
// body is not JSON, or neither form. Unknown fields are skipped and names are case-sensitive. The events share no memory with the body.
func decodeEvents(body []byte, fields problem.Fields) (events []event.Event, batch bool, err error) {
	r := &eventReader{}
	if err := r.whole(body, fields); err != nil {
		return nil, false, err
	}
	return r.events, r.batch, nil
}

func (r *eventReader) whole(body []byte, fields problem.Fields) error {
	if tooDeep(body) {
		return errTooDeep
	}
	r.decoder = jsontext.NewDecoder(bytes.NewBuffer(body))
	if err := r.document(fields); err != nil {
		return asDecodeError(err, "")
	}
	if err := endOf(r.decoder); err != nil {
		return err
	}
	if r.batch && len(r.events) == 0 && fields.Err() == nil {
		fields.Add("events", "needs at least one event")
	}
	return nil
}

// decodeLines reads NDJSON: an event a line; lines of white space alone do not count.
func decodeLines(body []byte, fields problem.Fields) (events []event.Event, err error) {
	for line := range bytes.Lines(body) {
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		at := fields.Under("events").Under(problem.Index(len(events)))
		if len(events) == maxLines {
			return nil, tooMany(maxLines)
		}
		if tooDeep(line) {
			return nil, &decodeError{errTooDeep.code, at.Path(""), errTooDeep.message}
		}
		r := &eventReader{decoder: jsontext.NewDecoder(bytes.NewBuffer(line))}
		e, err := r.event(at)
		if err != nil {
			return nil, asDecodeError(err, at.Path(""))
		}
		if endOf(r.decoder) != nil {
			return nil, &decodeError{problem.InvalidRequest, at.Path(""), "has data behind the JSON value"}
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		fields.Add("events", "needs at least one event")
	}
	return events, nil
}

func tooMany(most int) error {
	return &decodeError{problem.ValidationFailed, "events", "has more than " + strconv.Itoa(most) + " events"}
}

// eventReader reads the tokens of events by hand: every event comes this way, so nothing is decoded twice and nothing by reflection.
type eventReader struct {
	decoder *jsontext.Decoder
	scratch []byte
	events  []event.Event
	batch   bool
	// unread is the unknown fields, the first of them, where somebody is to be told.
	tellsUnread bool
	unread      []string
	unnamed     bool // there are others
}

// Bounds of what is named of unknown fields: a longer name is no slip of a pen.
const (
	maxUnread     = 10
	maxUnreadName = 100
)

// unknown skips a field that is not read.
func (r *eventReader) unknown(at problem.Fields, name []byte) error {
	switch {
	case !r.tellsUnread:
	case len(r.unread) < maxUnread && len(name) <= maxUnreadName:
		r.unread = append(r.unread, at.Path(string(name)))
	default:
		r.unnamed = true
	}
	return r.decoder.SkipValue()
}

// document reads a whole body. The field events makes it a batch, wherever it stands.
func (r *eventReader) document(fields problem.Fields) error {
	single := problem.Collect("")
	var e event.Event
	var beside [len(eventFields)]bool // an array and no map, since most bodies are no batch
	err := r.object(single, func(name []byte) error {
		if string(name) == "events" {
			r.batch = true
			return r.list(fields)
		}
		if i := slices.IndexFunc(eventFields[:], func(field string) bool { return field == string(name) }); i >= 0 {
			beside[i] = r.decoder.PeekKind() != 'n'
		}
		return r.eventField(single, name, &e)
	})
	if err != nil {
		return err
	}
	if r.batch {
		refuseBeside(fields, beside)
		return nil
	}
	r.events = append(r.events, e)
	merge(fields, single)
	return nil
}

// eventFields is what eventField reads.
var eventFields = [...]string{"eventId", "eventType", "tenantId", "occurredAt", "customerId", "locationId", "contactId",
	"appointment", "visitReport", "followUp", "billingEvent", "target"}

// refuseBeside refuses an event's fields beside a batch: the sender means them for its events, which would otherwise go to another tenant,
// or out without them.
func refuseBeside(fields problem.Fields, beside [len(eventFields)]bool) {
	for i, there := range beside {
		if there {
			fields.Add(eventFields[i], "must not stand beside events: it belongs into each of them")
		}
	}
}

// merge notes in fields what was found in another collection.
func merge(into, from problem.Fields) {
	if found, ok := from.Err().(*problem.Error); ok {
		for path, messages := range found.Fields {
			for _, message := range messages {
				into.Add(path, "%s", message)
			}
		}
	}
}

func (r *eventReader) list(fields problem.Fields) error {
	if ok, err := r.expect(fields, "events", '[', "must be a list of events"); !ok {
		return err
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return err
	}
	at := fields.Under("events")
	for r.decoder.PeekKind() != ']' {
		if len(r.events) == maxEvents {
			return tooMany(maxEvents)
		}
		e, err := r.event(at.Under(problem.Index(len(r.events))))
		if err != nil {
			return err
		}
		r.events = append(r.events, e)
	}
	_, err := r.decoder.ReadToken()
	return err
}

func (r *eventReader) event(at problem.Fields) (e event.Event, err error) {
	err = r.object(at, func(name []byte) error { return r.eventField(at, name, &e) })
	return e, err
}

func (r *eventReader) eventField(at problem.Fields, name []byte, e *event.Event) error {
	switch string(name) {
	case "eventId":
		return r.identifier(at, "eventId", func(s string) { e.ID = s })
	case "eventType":
		return r.text(at, "eventType", func(s string) { e.Type = event.Type(s) })
	case "tenantId":
		return r.identifier(at, "tenantId", func(s string) { e.TenantID = tenant.ID(s) })
	case "occurredAt":
		return r.occurredAt(at, e)
	case "customerId":
		return r.optionalInteger(at, "customerId", &e.CustomerID)
	case "locationId":
		return r.optionalInteger(at, "locationId", &e.LocationID)
	case "contactId":
		return r.optionalInteger(at, "contactId", &e.ContactID)
	case "appointment":
		return block(r, at, "appointment", &e.Appointment, (*eventReader).appointmentField)
	case "visitReport":
		return block(r, at, "visitReport", &e.VisitReport, (*eventReader).visitReportField)
	case "followUp":
		return block(r, at, "followUp", &e.FollowUp, (*eventReader).followUpField)
	case "billingEvent":
		return block(r, at, "billingEvent", &e.BillingEvent, (*eventReader).billingEventField)
	case "target":
		return block(r, at, "target", &e.Target, (*eventReader).targetField)
	default:
		return r.unknown(at, name)
	}
}

// block reads an object into a new B, or leaves nil for null.
func block[B any](r *eventReader, at problem.Fields, name string, into **B, field func(*eventReader, problem.Fields, []byte, *B) error) error {
	if r.decoder.PeekKind() == 'n' {
		return r.decoder.SkipValue()
	}
	b, under := new(B), at.Under(name)
	*into = b
	return r.object(under, func(name []byte) error { return field(r, under, name, b) })
}
