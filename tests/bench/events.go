package main

import (
	"bytes"
	"fmt"
	"strconv"
)

// The body that a receiver gets of it has 1 KB.
const eventText = `{"eventId":"%s","eventType":"visit_report.approved","occurredAt":"2026-06-18T16:40:00Z","tenantId":"%s","customerId":12,"locationId":34,"contactId":56,` +
	`"visitReport":{"id":901,"title":"Maintenance visit - Essen Center, ward 4 to 7, all infusion pumps and monitors of the ground floor","status":"Approved","result":"Successful",` +
	`"followUpRequired":false,"isBillable":true,"billingStatus":"NotReady","attachmentCount":2,"summary":"All units inspected, filters cleaned. No defects found; next service is due in a year."},` +
	`"target":{"id":455,"title":"Maintenance visit of the yearly plan, as agreed with the technical service of the house"}}`

// eventID is the n-th ID of a database.
func eventID(n int) string { return fmt.Sprintf("evt_01JZ8A2MT8G7C3Y7%010d", n) }

func tenantID(n int) string { return "bench-" + strconv.Itoa(n) }

// request is a POST of events.
type request struct {
	contentType string
	body        []byte
	events      []int // their numbers
}

// maker makes requests whose events have numbers of their own.
type maker struct {
	next    int
	first   int // tenant
	tenants int // the events are spread over so many
}

func (m *maker) event() (n int, text []byte) {
	n = m.next
	m.next++
	return n, fmt.Appendf(nil, eventText, eventID(n), tenantID(m.first+n%max(1, m.tenants)))
}

// requests makes n events in requests of so many, each a list, a stream of lines, or a single event.
func (m *maker) requests(n, each int, lines bool) (list []request) {
	for made := 0; made < n; made += each {
		var r request
		var texts [][]byte
		for range min(each, n-made) {
			number, text := m.event()
			r.events, texts = append(r.events, number), append(texts, text)
		}
		r.contentType = "application/json"
		switch {
		case lines:
			r.contentType, r.body = "application/x-ndjson", append(bytes.Join(texts, []byte("\n")), '\n')
		case each == 1:
			r.body = texts[0]
		default:
			r.body = append(append([]byte(`{"events":[`), bytes.Join(texts, []byte(","))...), "]}"...)
		}
		list = append(list, r)
	}
	return list
}
