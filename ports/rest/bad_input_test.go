package rest_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// nested is a list in a list in a list…
func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// eventWith is a valid event with a field replaced or added.
func eventWith(field, value string) string {
	return `{"eventType":"appointment.scheduled","occurredAt":"2026-06-18T16:40:00Z","tenantId":"tenant-123","appointment":{"id":1},` + fmt.Sprintf("%q:%s}", field, value)
}

func wholeEvent(fields string) string {
	return `{"eventType":"appointment.scheduled","occurredAt":"2026-06-18T16:40:00Z","tenantId":"tenant-123",` + fields + `}`
}

type badInput struct {
	name, method, path, body, code, field string
	headers                               []string
}

// badEvents is what is wrong with each field of an event.
func badEvents() []badInput {
	var bad []badInput
	add := func(name, body, code, field string) {
		bad = append(bad, badInput{name: "event: " + name, method: "POST", path: "/v1/events", body: body, code: code, field: field})
	}
	invalidField := func(field, body string) {
		add(field+" in "+body[max(0, len(body)-60):], body, "validation_failed", field)
	}
	for _, value := range []string{`"evt_x"`, `7`, `"EVT_01JZ8A2MT8G7C3Y7V0WQ1M9B3C"`, `{"a":1}`} {
		invalidField("eventId", eventWith("eventId", value))
	}
	for _, reference := range []string{"customerId", "locationId", "contactId"} {
		for _, value := range []string{`0`, `-1`, `1.5`, `"12"`, `9007199254740993`, `1e300`, "1." + strings.Repeat("0", 200), `true`, `[1]`} {
			invalidField(reference, eventWith(reference, value))
		}
	}
	for _, block := range []string{"visitReport", "followUp", "billingEvent", "target"} {
		invalidField(block, eventWith(block, `"text"`))
		invalidField(block, eventWith(block, `[]`))
		invalidField(block+".id", eventWith(block, `{}`))
		invalidField(block+".id", eventWith(block, `{"id":"1"}`))
		invalidField(block+".id", eventWith(block, `{"id":9007199254740992}`))
	}
	for block, texts := range map[string][]string{
		"visitReport": {"title", "status", "result", "billingStatus", "summary"}, "followUp": {"reason"},
		"billingEvent": {"status", "sourceType"}, "target": {"title"}, "appointment": {"title", "status", "cancellationReason"},
	} {
		for _, text := range texts {
			for _, value := range []string{`7`, `"a\u0000b"`, `"a\u001bb"`, `"` + strings.Repeat("x", 100_001) + `"`, `{}`} {
				field := fmt.Sprintf(`%q:{"id":1,%q:%s}`, block, text, value)
				if block != "appointment" {
					field = `"appointment":{"id":1},` + field
				}
				invalidField(block+"."+text, wholeEvent(field))
			}
		}
	}
	for field, value := range map[string]string{
		"visitReport.followUpRequired": `{"id":1,"followUpRequired":"yes"}`, "visitReport.isBillable": `{"id":1,"isBillable":1}`,
		"visitReport.attachmentCount": `{"id":1,"attachmentCount":-1}`, "followUp.dueDate": `{"id":1,"dueDate":"tomorrow"}`,
		"followUp.targetId": `{"id":1,"targetId":0}`, "billingEvent.visitReportId": `{"id":1,"visitReportId":"x"}`,
		"billingEvent.createdAtUtc": `{"id":1,"createdAtUtc":"yesterday"}`, "billingEvent.error": `{"id":1,"error":"x"}`,
		"billingEvent.error.code": `{"id":1,"error":{"code":1}}`, "billingEvent.error.message": `{"id":1,"error":{"message":false}}`,
	} {
		invalidField(field, eventWith(strings.Split(field, ".")[0], value))
	}
	for _, moment := range []string{"scheduledStart", "scheduledEnd", "startedAt", "completedAt"} {
		for _, value := range []string{`7`, `"yesterday"`, `"2026-06-18T16:40:00"`, `"2026-06-18T16:40:00,5Z"`, `"0001-01-01T00:00:00Z"`} {
			invalidField("appointment."+moment, wholeEvent(fmt.Sprintf(`"appointment":{"id":1,%q:%s}`, moment, value)))
		}
	}
	invalidField("appointment", wholeEvent(`"x":1`))
	invalidField("appointment.problem", wholeEvent(`"appointment":{"id":1,"problem":[]}`))
	invalidField("eventType", `{"occurredAt":"2026-06-18T16:40:00Z","tenantId":"tenant-123"}`)
	invalidField("eventType", strings.Replace(oneEvent, "visit_report.approved", "visit_report.lost", 1))
	invalidField("eventType", strings.Replace(oneEvent, "eventType", "EventType", 1))
	invalidField("occurredAt", strings.Replace(oneEvent, "2026-06-18T16:40:00Z", "today", 1))
	invalidField("occurredAt", strings.Replace(oneEvent, `"occurredAt":"2026-06-18T16:40:00Z",`, "", 1))
	invalidField("tenantId", strings.Replace(oneEvent, "tenant-123", "a b", 1))
	invalidField("tenantId", strings.Replace(oneEvent, `"tenant-123"`, "12", 1))
	invalidField("events[1].visitReport.id", `{"events":[`+oneEvent+`,`+strings.Replace(oneEvent, "901", "-1", 1)+`]}`)
	invalidField("events[1]", `{"events":[`+oneEvent+`,7]}`)
	invalidField("events", `{"events":[]}`)
	invalidField("events", `{"events":{}}`)
	invalidField("events", `{"events":[`+strings.Repeat(oneEvent+",", 1000)+oneEvent+`]}`)
	for name, body := range map[string]string{"a list": "[]", "a text": `"x"`, "null": "null", "a number": "1"} {
		add(name, body, "validation_failed", "body")
	}
	return append(bad, badJSON("POST", "/v1/events")...)
}

// badJSON is what no route takes.
func badJSON(method, path string) []badInput {
	bad := []badInput{
		{name: "malformed", body: `{"zz":`, field: "zz"}, {name: "trailing data", body: oneEvent + `{}`, field: "body"},
		{name: "duplicate keys", body: `{"zz":{"a":1,"a":2}}`, field: "zz.a"}, {name: "invalid UTF-8", body: "{\"zz\":\"\xff\"}", field: "zz"},
		{name: "invalid UTF-8 in a name", body: "{\"\xff\":1}"}, {name: "half a surrogate", body: `{"zz":"\ud800"}`, field: "zz"},
		{name: "nested 1,000 deep", body: `{"zz":` + nested(1000) + `}`, field: "body"}, {name: "nested 400,000 deep", body: nested(400_000), field: "body"},
		{name: "an open bomb", body: strings.Repeat("[", 1_000_000), field: "body"}, {name: "a comment", body: `{/**/}`, field: "body"},
	}
	for i := range bad {
		bad[i].name, bad[i].method, bad[i].path, bad[i].code = method+" "+path+": "+bad[i].name, method, path, "invalid_request"
	}
	return bad
}

func badSubscriptions() []badInput {
	var bad []badInput
	for field, values := range map[string][]string{
		"name":                           {`7`, `""`, `"a\u0000"`, `"` + strings.Repeat("x", 201) + `"`, `null`, `{}`},
		"url":                            {`7`, `""`, `"ftp://a.example"`, `"https://user:pw@a.example/"`, `"https://"`, `"https://a.example/` + strings.Repeat("x", 2048) + `"`, `null`},
		"eventTypes":                     {`"visit_report.*"`, `[]`, `null`, `{}`},
		"eventTypes[0]":                  {`["visit_report"]`, `[7]`, `["*.approved"]`, `["a\u0000"]`, `[null]`},
		"eventTypes[1]":                  {`["*","*"]`},
		"sourceSystem":                   {`7`, `"a\u0007"`, `"` + strings.Repeat("x", 65) + `"`, `null`},
		"payloadOptions":                 {`[]`, `"x"`, `null`},
		"payloadOptions.summaryPreview":  {`{"summaryPreview":1}`, `{"summaryPreview":null}`},
		"payloadOptions.summaryPreviews": {`{"summaryPreviews":true}`},
		"retrySchedule":                  {`"30s"`, `[]`, `[` + strings.Repeat(`"1s",`, 20) + `"1s"]`},
		"retrySchedule[0]":               {`["soon"]`, `[30]`, `["100h"]`, `["1ms"]`, `[null]`},
		"timeoutSeconds":                 {`"10"`, `0`, `31`, `1e300`, `null`, `[]`},
		"maxInFlight":                    {`"16"`, `0`, `257`, `1.5`, `9007199254740993`, `null`},
		"status":                         {`"disabled"`, `7`, `null`},
		"Name":                           {`"x"`}, "unknown": {`1`},
	} {
		for _, value := range values {
			one := badInput{code: "validation_failed", field: field}
			name := strings.FieldsFunc(field, func(r rune) bool { return r == '[' || r == '.' })[0]
			fields := map[string]string{"name": `"SAP"`, "url": `"https://a.example"`, "eventTypes": `["*"]`}
			fields[name] = value
			var members []string
			for key, value := range fields {
				members = append(members, fmt.Sprintf("%q:%s", key, value))
			}
			one.method, one.path, one.body = "POST", "/v1/subscriptions", "{"+strings.Join(members, ",")+"}"
			patch := badInput{method: "PATCH", path: "/v1/subscriptions/{sub}", body: fmt.Sprintf("{%q:%s}", name, value), code: one.code, field: field}
			one.name, patch.name = "subscription: "+field+"="+value[:min(20, len(value))], "patch: "+field+"="+value[:min(20, len(value))]
			bad = append(bad, one, patch)
		}
	}
	for _, missing := range []string{"name", "url", "eventTypes"} {
		bad = append(bad, badInput{name: "without " + missing, method: "POST", path: "/v1/subscriptions", body: `{}`, code: "validation_failed", field: missing})
	}
	bad = append(bad, badJSON("POST", "/v1/subscriptions")...)
	return append(bad, badJSON("PATCH", "/v1/subscriptions/{sub}")...)
}

// badRest is one line an input of the smaller routes.
func badRest() []badInput {
	var bad []badInput
	add := func(field, method, path, body string, headers ...string) {
		bad = append(bad, badInput{name: method + " " + path + " " + body[:min(40, len(body))], method: method, path: path, body: body, code: "validation_failed", field: field, headers: headers})
	}
	add("reason", "POST", "/v1/subscriptions/{sub}/pause", `{"reason":"\u0000"}`)
	add("reason", "POST", "/v1/subscriptions/{sub}/pause", `{"reason":7}`)
	add("skipParked", "POST", "/v1/subscriptions/{sub}/resume", `{"skipParked":"yes"}`)
	add("skipparked", "POST", "/v1/subscriptions/{sub}/resume", `{"skipparked":true}`)
	for _, hours := range []string{`-1`, `169`, `1.5`, `"24"`, `1e30`} {
		add("overlapHours", "POST", "/v1/subscriptions/{sub}/rotate-secret", `{"overlapHours":`+hours+`}`)
	}
	add("eventType", "POST", "/v1/subscriptions/{sub}/test", `{"eventType":"x.y"}`)
	add("If-Match", "PATCH", "/v1/subscriptions/{sub}", `{"name":"x"}`, "If-Match", "1")
	add("subscriptionId", "GET", "/v1/subscriptions/"+strings.Repeat("x", 3000), "")
	for _, limit := range []string{"0", "201", "x", "1.5", "-1"} {
		for _, list := range []string{"subscriptions", "deliveries", "events", "api-keys"} {
			add("limit", "GET", "/v1/"+list+"?limit="+limit, "")
		}
	}
	add("status", "GET", "/v1/deliveries?status=lost", "")
	add("subscriptionId", "GET", "/v1/deliveries?subscriptionId=x", "")
	add("eventId", "GET", "/v1/deliveries?eventId=x", "")
	add("eventType", "GET", "/v1/deliveries?eventType=x", "")
	add("eventType", "GET", "/v1/events?eventType=x", "")
	add("since", "GET", "/v1/deliveries?since=yesterday", "")
	add("since", "GET", "/v1/deliveries?since=0001-02-01T00:00:00Z", "")
	add("until", "GET", "/v1/events?until=9", "")
	add("until", "GET", "/v1/events?since=2026-06-18T16:40:00Z&until=2026-06-17T16:40:00Z", "")
	add("unknown", "GET", "/v1/events?unknown=1", "")
	add("unknown", "POST", "/v1/events?unknown=1", "{}")
	add("eventId", "POST", "/v1/events", `{"eventId":"","eventType":"target.imported","occurredAt":"2026-06-18T16:40:00Z","target":{"id":1}}`)
	add("tenantId", "POST", "/v1/events", `{"tenantId":"","eventType":"target.imported","occurredAt":"2026-06-18T16:40:00Z","target":{"id":1}}`)
	add("limit", "GET", "/v1/events?limit=1&limit=2", "")
	add("eventType", "GET", "/v1/events?eventType=%00", "")
	add("eventType", "GET", "/v1/events?eventType=%ff", "")
	add("cursor", "GET", "/v1/events?cursor="+strings.Repeat("x", 2000), "")
	add("customers[0].ordinavoCustomerId", "POST", "/v1/directory", `{"customers":[{"name":"x"}]}`)
	add("customers[0].ordinavoCustomerId", "POST", "/v1/directory", `{"customers":[{"ordinavoCustomerId":9007199254740993}]}`)
	add("customers[0].name", "POST", "/v1/directory", `{"customers":[{"ordinavoCustomerId":1,"name":"\u0000"}]}`)
	add("customers[0].email", "POST", "/v1/directory", `{"customers":[{"ordinavoCustomerId":1,"email":"a@b.c"}]}`)
	add("customers[0].customerNumber", "POST", "/v1/directory", `{"customers":[{"ordinavoCustomerId":1,"customerNumber":"`+strings.Repeat("x", 201)+`"}]}`)
	add("locations[1].hasCoordinates", "POST", "/v1/directory", `{"locations":[{"ordinavoLocationId":1},{"ordinavoLocationId":1,"hasCoordinates":"no"}]}`)
	add("contacts", "POST", "/v1/directory", `{"contacts":{}}`)
	add("externalIds[0].entityType", "POST", "/v1/directory", `{"externalIds":[{"sourceSystem":"sap","entityType":"order","ordinavoId":1,"externalId":"x"}]}`)
	add("externalIds[0].externalId", "POST", "/v1/directory", `{"externalIds":[{"sourceSystem":"sap","entityType":"target","ordinavoId":1,"externalId":""}]}`)
	add("sourceSystem", "PUT", "/v1/directory/external-ids", `{"sourceSystem":"","entityType":"target","ordinavoId":1,"externalId":"x"}`)
	add("ordinavoId", "GET", "/v1/directory/external-ids?sourceSystem=sap&entityType=target", "")
	add("entityType", "DELETE", "/v1/directory/external-ids?sourceSystem=sap&entityType=order&ordinavoId=1", "")
	add("id", "GET", "/v1/directory/customers/x", "")
	add("id", "GET", "/v1/directory/customers/9007199254740993", "")
	add("name", "PUT", "/v1/directory/customers/1", `{"name":7}`)
	add("scopes", "POST", "/v1/api-keys", `{"name":"x","scopes":[]}`)
	add("scopes[0]", "POST", "/v1/api-keys", `{"name":"x","scopes":["all"]}`)
	add("name", "POST", "/v1/api-keys", `{"scopes":["webhooks.read"]}`)
	add("name", "POST", "/v1/api-keys", `{"name":"\u001b","scopes":["webhooks.read"]}`)
	add("expiresAt", "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"],"expiresAt":"2020-01-01T00:00:00Z"}`)
	add("expiresAt", "POST", "/v1/api-keys", `{"name":"x","scopes":["webhooks.read"],"expiresAt":"soon"}`)
	bad = append(bad, badInput{name: "compressed", method: "POST", path: "/v1/events", body: oneEvent, code: "invalid_request", headers: []string{"Content-Encoding", "gzip"}},
		badInput{name: "a form", method: "POST", path: "/v1/events", body: "a=b", code: "invalid_request", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}},
		badInput{name: "Latin-1", method: "POST", path: "/v1/events", body: oneEvent, code: "invalid_request", headers: []string{"Content-Type", "application/json; charset=iso-8859-1"}},
		badInput{name: "lines elsewhere", method: "POST", path: "/v1/subscriptions", body: "{}", code: "invalid_request", headers: []string{"Content-Type", "application/x-ndjson"}},
		badInput{name: "a bad line", method: "POST", path: "/v1/events", body: oneEvent + "\n{]\n", code: "invalid_request", field: "events[1]", headers: []string{"Content-Type", "application/x-ndjson"}},
		badInput{name: "two on a line", method: "POST", path: "/v1/events", body: oneEvent + oneEvent, code: "invalid_request", field: "events[0]", headers: []string{"Content-Type", "application/x-ndjson"}},
		badInput{name: "no lines", method: "POST", path: "/v1/events", body: "\n\n", code: "validation_failed", field: "events", headers: []string{"Content-Type", "application/x-ndjson"}},
		badInput{name: "too many lines", method: "POST", path: "/v1/events", body: strings.Repeat("{}\n", 10_001), code: "validation_failed", field: "events", headers: []string{"Content-Type", "application/x-ndjson"}},
		badInput{name: "no body", method: "POST", path: "/v1/events", code: "invalid_request"},
		badInput{name: "no body", method: "POST", path: "/v1/subscriptions", code: "invalid_request"},
		badInput{name: "a broken query", method: "GET", path: "/v1/events?limit=%zz", code: "invalid_request"},
		badInput{name: "a bomb of 8 MB", method: "POST", path: "/v1/events", body: strings.Repeat("[", 8<<20), code: "invalid_request", field: "body"},
		badInput{name: "NUL in the path", method: "GET", path: "/v1/events/evt_%00", code: "invalid_request"},
		badInput{name: "no such route", method: "GET", path: "/v1/nowhere", code: "not_found"},
		badInput{name: "not this method", method: "DELETE", path: "/v1/events", code: "invalid_request"},
		badInput{name: "9 MB", method: "POST", path: "/v1/events", body: strings.Repeat("x", 9<<20), code: "payload_too_large"},
		badInput{name: "10 MB elsewhere", method: "POST", path: "/v1/directory", body: strings.Repeat("x", 10<<20), code: "payload_too_large"},
		badInput{name: "2 MB for a name", method: "POST", path: "/v1/subscriptions", body: `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, code: "payload_too_large"},
	)
	for _, route := range [][2]string{{"POST", "/v1/directory"}, {"PUT", "/v1/directory/contacts/1"}, {"POST", "/v1/api-keys"}, {"POST", "/v1/subscriptions/{sub}/pause"}} {
		bad = append(bad, badJSON(route[0], route[1])[:7]...)
	}
	return bad
}

func TestBadInput(t *testing.T) {
	h := newHarness(t)
	sub := h.subscribe()
	writes, events := h.store.writes, len(h.store.events)
	for _, bad := range append(append(badEvents(), badSubscriptions()...), badRest()...) {
		t.Run(bad.name, func(t *testing.T) {
			h := &harness{T: t, api: h.api, admin: h.admin}
			got := h.call(h.admin, bad.method, strings.Replace(bad.path, "{sub}", sub, 1), bad.body, bad.headers...)
			if got.status < 400 || got.status > 499 {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			if bad.field == "" {
				got.refused(bad.code)
			} else {
				got.refused(bad.code, bad.field)
			}
			if len(got.body) > 50_000 {
				t.Errorf("%d bytes of answer", len(got.body))
			}
		})
	}
	if h.store.writes != writes || len(h.store.events) != events {
		t.Errorf("%d writes by refused requests", h.store.writes-writes)
	}
}

// A time that cannot be read is explained without Go's layout, and a plus that a URL turned into a space by that.
func TestBadTimeInURL(t *testing.T) {
	h := newHarness(t)
	const form = "must be a time of RFC 3339, like 2026-06-18T16:40:00Z"
	for query, want := range map[string]string{
		"since=yesterday":                     form,
		"until=2026-06-18":                    form,
		"since=2026-06-18T18:40:00+02:00":     form + "; the + of an offset is written %2B in a URL",
		"until=2026-06-18T18:40:00%2002:00":   form + "; the + of an offset is written %2B in a URL",
		"since=2026-06-18T18:40:00%2B02:00x":  form,
		"since=2026-06-18T18:40:00%2B02:00&z": "",
	} {
		got := h.call(h.admin, "GET", "/v1/deliveries?"+query, "")
		if want != "" && !strings.Contains(string(got.body), `["`+want+`"]`) {
			t.Errorf("%s: %s", query, got.body)
		}
		if want == "" && strings.Contains(string(got.body), form) {
			t.Errorf("%s: %s", query, got.body)
		}
	}
}

// A route that takes no body must not answer as if it had done what one asks for.
func TestRoutesWithoutABodyTakeNone(t *testing.T) {
	h := withDeliveries(t)
	complete := "/v1/subscriptions/" + h.subscribe() + "/rotate-secret/complete"
	for _, route := range []string{"POST /v1/deliveries/dlv_1/retry", "POST " + complete, "DELETE /v1/directory/customers/12"} {
		method, path, _ := strings.Cut(route, " ")
		h.call(h.admin, method, path, "garbage").expect(400).refused("invalid_request", "body")
		h.call(h.admin, method, path, `{"a":1}`).expect(400).refused("validation_failed", "a")
		h.call(h.admin, method, path, `[]`, "Idempotency-Key", "k").expect(400).refused("validation_failed", "body")
		h.call(h.admin, method, path, `null`).expect(400).refused("validation_failed", "body")
	}
	h.call(h.admin, "POST", "/v1/deliveries/dlv_1/retry", " {} ").expect(202)
	h.call(h.admin, "POST", complete, "").expect(200)
}

// The document calls them integers, of which 12.0 is one: some encoders write a whole number like that.
func TestWholeNumbersInEverySpelling(t *testing.T) {
	h := newHarness(t)
	one := "/v1/subscriptions/" + h.subscribe()
	for _, c := range []struct{ method, path, body, want string }{
		{"PATCH", one, `{"maxInFlight":8.0}`, `"maxInFlight":8,`},
		{"POST", one + "/rotate-secret", `{"overlapHours":2.4e1}`, `"overlapEnd"`},
		{"PUT", "/v1/directory/customers/12", `{"ordinavoCustomerId":12.0}`, `"ordinavoCustomerId":12`},
		{"POST", "/v1/directory", `{"externalIds":[{"sourceSystem":"sap","entityType":"target","ordinavoId":1.2e1,"externalId":"x"}]}`, `"externalIds":1`},
	} {
		if got := h.call(h.admin, c.method, c.path, c.body).expect(200); !strings.Contains(got.body, c.want) {
			t.Errorf("%s %s: %s", c.method, c.path, got.body)
		}
	}
	h.call(h.admin, "POST", "/v1/directory", `{"customers":[{"ordinavoCustomerId":4503599627370497.5}]}`).expect(400).
		refused("validation_failed", "customers[0].ordinavoCustomerId")
}

// Who sends too much learns how much less it has to be: routes differ, and no document says by how much.
func TestABodyThatIsTooLargeIsToldTheLimit(t *testing.T) {
	h := newHarness(t)
	for path, limit := range map[string]int{"/v1/events": 8<<20 + 1, "/v1/directory": 8 << 20, "/v1/subscriptions": 1 << 20, "/v1/signature-doctor": 2 << 20} {
		within := h.call(h.admin, "POST", path, strings.Repeat(" ", limit-1))
		if within.status == http.StatusRequestEntityTooLarge {
			t.Errorf("%s takes no %d bytes: %s", path, limit-1, within.body)
		}
		got := h.call(h.admin, "POST", path, strings.Repeat(" ", limit)).expect(http.StatusRequestEntityTooLarge).refused("payload_too_large")
		if named := regexp.MustCompile(`at most (\d+) are allowed|fewer than (\d+) bytes`).FindStringSubmatch(got.text("detail")); named == nil {
			t.Errorf("%s names no limit: %s", path, got.body)
		} else if named[1] != strconv.Itoa(limit-1) && named[2] != strconv.Itoa(limit) {
			t.Errorf("%s takes fewer than %d bytes, and says: %s", path, limit, got.body)
		}
	}
}
