package rest

import (
	"bytes"
	"math"
	"strconv"
	"strings"
	"time"

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

// decodeEvents reads one event, or {"events": [...]}. It notes every field of a wrong type in fields and
// goes on; an error says that the body is not JSON, or no such body. Unknown fields are skipped and names are
// case-sensitive. The events share no memory with the body.
func decodeEvents(body []byte, fields problem.Fields) (events []event.Event, batch bool, err error) {
	if tooDeep(body) {
		return nil, false, errTooDeep
	}
	r := &eventReader{decoder: jsontext.NewDecoder(bytes.NewBuffer(body))}
	if err := r.document(fields); err != nil {
		return nil, false, asDecodeError(err, "")
	}
	if err := endOf(r.decoder); err != nil {
		return nil, false, err
	}
	if r.batch && len(r.events) == 0 && fields.Err() == nil {
		fields.Add("events", "needs at least one event")
	}
	return r.events, r.batch, nil
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
			return nil, tooMany("", maxLines)
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

func tooMany(path string, most int) error {
	return &decodeError{problem.ValidationFailed, problem.Collect(path).Path("events"), "has more than " + strconv.Itoa(most) + " events"}
}

// eventReader reads the tokens of events by hand: this is on the way of every event, so nothing is
// decoded twice and nothing by reflection.
type eventReader struct {
	decoder *jsontext.Decoder
	scratch []byte
	events  []event.Event
	batch   bool
}

// document reads a whole body. The field events makes it a batch, wherever it stands.
func (r *eventReader) document(fields problem.Fields) error {
	single := problem.Collect("")
	var e event.Event
	err := r.object(single, "", func(name []byte) error {
		if string(name) == "events" {
			r.batch = true
			return r.list(fields)
		}
		return r.eventField(single, name, &e)
	})
	if err != nil || r.batch {
		return err
	}
	r.events = append(r.events, e)
	merge(fields, single)
	return nil
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
			return tooMany("", maxEvents)
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
	err = r.object(at, "", func(name []byte) error { return r.eventField(at, name, &e) })
	return e, err
}

func (r *eventReader) eventField(at problem.Fields, name []byte, e *event.Event) error {
	switch string(name) {
	case "eventId":
		return r.text(at, "eventId", func(s string) { e.ID = s })
	case "eventType":
		return r.text(at, "eventType", func(s string) { e.Type = event.Type(s) })
	case "tenantId":
		return r.text(at, "tenantId", func(s string) { e.TenantID = tenant.ID(s) })
	case "occurredAt":
		return r.moment(at, "occurredAt", func(t time.Time) { e.OccurredAt = t })
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
		return r.decoder.SkipValue()
	}
}

// block reads an object into a new B, or leaves nil for null.
func block[B any](r *eventReader, at problem.Fields, name string, into **B, field func(*eventReader, problem.Fields, []byte, *B) error) error {
	if r.decoder.PeekKind() == 'n' {
		return r.decoder.SkipValue()
	}
	b, under := new(B), at.Under(name)
	*into = b
	return r.object(under, "", func(name []byte) error { return field(r, under, name, b) })
}

// object reads an object's members; each is called with its name and must read the value.
func (r *eventReader) object(at problem.Fields, name string, member func(name []byte) error) error {
	if ok, err := r.expect(at, name, '{', "must be an object"); !ok {
		return err
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return err
	}
	for r.decoder.PeekKind() != '}' {
		raw, err := r.decoder.ReadValue()
		if err != nil {
			return err
		}
		unquoted := raw[1 : len(raw)-1]
		if bytes.IndexByte(unquoted, '\\') >= 0 {
			if r.scratch, err = jsontext.AppendUnquote(r.scratch[:0], raw); err != nil {
				return err
			}
			unquoted = r.scratch
		}
		if err := member(unquoted); err != nil {
			return err
		}
	}
	_, err := r.decoder.ReadToken()
	return err
}

// expect notes and skips a value of another kind than wanted.
func (r *eventReader) expect(at problem.Fields, name string, kind jsontext.Kind, message string) (bool, error) {
	switch r.decoder.PeekKind() {
	case kind:
		return true, nil
	case jsontext.KindInvalid:
		_, err := r.decoder.ReadToken()
		return false, err
	default:
		err := r.decoder.SkipValue()
		if path := at.Path(name); err == nil && path == "" {
			return false, &decodeError{problem.ValidationFailed, wholeBody, message}
		}
		at.Add(name, "%s", message)
		return false, err
	}
}

// null reads a null, which is as good as an absent field.
func (r *eventReader) null() (bool, error) {
	if r.decoder.PeekKind() != 'n' {
		return false, nil
	}
	return true, r.decoder.SkipValue()
}

func (r *eventReader) text(at problem.Fields, name string, set func(string)) error {
	if done, err := r.null(); done {
		return err
	}
	if ok, err := r.expect(at, name, '"', "must be a string"); !ok {
		return err
	}
	token, err := r.decoder.ReadToken()
	if err == nil {
		set(token.String())
	}
	return err
}

func (r *eventReader) optionalText(at problem.Fields, name string, into **string) error {
	return r.text(at, name, func(s string) { *into = &s })
}

func (r *eventReader) moment(at problem.Fields, name string, set func(time.Time)) error {
	return r.text(at, name, func(s string) {
		// time.Parse also takes a comma for the point, and hours of one digit.
		t, err := time.Parse(time.RFC3339, s)
		if err != nil || s[13] != ':' || strings.Contains(s, ",") {
			at.Add(name, "must be a time of RFC 3339, like 2026-06-18T16:40:00Z")
			return
		}
		set(t)
	})
}

func (r *eventReader) optionalMoment(at problem.Fields, name string, into **time.Time) error {
	return r.moment(at, name, func(t time.Time) { *into = &t })
}

func (r *eventReader) optionalInteger(at problem.Fields, name string, into **int64) error {
	return r.integer(at, name, func(n int64) { *into = &n })
}

func (r *eventReader) integer(at problem.Fields, name string, set func(int64)) error {
	if done, err := r.null(); done {
		return err
	}
	if ok, err := r.expect(at, name, '0', "must be a whole number"); !ok {
		return err
	}
	raw, err := r.decoder.ReadValue()
	if err != nil {
		return err
	}
	number, ok := wholeNumber(string(raw))
	if !ok {
		at.Add(name, "must be a whole number up to 2^53-1")
		return nil
	}
	set(number)
	return nil
}

// wholeNumber also takes the spellings 12.0 and 1.2e1.
func wholeNumber(text string) (int64, bool) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, n <= maxNumber && n >= -maxNumber
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f != math.Trunc(f) || f > maxNumber || f < -maxNumber {
		return 0, false
	}
	return int64(f), true
}

func (r *eventReader) optionalBool(at problem.Fields, name string, into **bool) error {
	if done, err := r.null(); done {
		return err
	}
	switch kind := r.decoder.PeekKind(); kind {
	case 't', 'f':
		value := kind == 't'
		*into = &value
		return r.decoder.SkipValue()
	default:
		_, err := r.expect(at, name, 't', "must be true or false")
		return err
	}
}
