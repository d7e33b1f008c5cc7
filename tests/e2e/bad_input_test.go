package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// untouched is a tenant's whole state as the API shows it.
func (n tenant) untouched() string {
	n.t.Helper()
	var shown strings.Builder
	for _, path := range []string{"/v1/events", "/v1/subscriptions", "/v1/deliveries", "/v1/directory/customers/12", "/v1/api-keys?tenantId=" + n.id,
		"/v1/directory/external-ids?sourceSystem=sap&entityType=customer&ordinavoId=12"} {
		shown.Write(n.get(path).want(http.StatusOK).body)
	}
	return shown.String()
}

// refusedWith wants a 4xx problem about the path; body and headers are refused as invalid_request.
func refusedWith(t *testing.T, name string, got answer, path string) {
	t.Helper()
	if got.status < 400 || got.status >= 500 || got.header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("%s: got %d %s: %s", name, got.status, got.header.Get("Content-Type"), got.body)
		return
	}
	p := into[problem](got)
	for field, messages := range p.Errors {
		if field == path || strings.HasPrefix(field, path+"[") || strings.HasPrefix(field, path+".") {
			if len(messages) == 0 || messages[0] == "" {
				t.Errorf("%s: no word about %s", name, field)
			}
			return
		}
	}
	if path != "" {
		t.Errorf("%s: nothing about %s: %s", name, path, got.body)
	}
}

// Issue 2, "Bad input": whatever is wrong with a body, the answer names the path, and nothing is written.
func TestBadEvents(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	acme.subscribe(receive(t, nil), "*", nil)
	before := acme.untouched()
	good, _ := json.Marshal(acme.visit("visit_report.approved", nil))
	inside := func(old, replacement string) []byte {
		if !strings.Contains(string(good), old) {
			t.Fatalf("no %s in %s", old, good)
		}
		return []byte(strings.Replace(string(good), old, replacement, 1))
	}
	many := make([]json.RawMessage, 1001)
	for i := range many {
		many[i] = good
	}
	tooMany, _ := json.Marshal(object{"events": many})
	for name, c := range map[string]struct {
		body []byte
		path string
	}{
		"unknown type":             {inside("visit_report.approved", "visit_report.nonsense"), "eventType"},
		"type of a wrong case":     {inside("visit_report.approved", "Visit_Report.Approved"), "eventType"},
		"wrong type":               {inside(`"customerId":12`, `"customerId":"12"`), "customerId"},
		"wrong type of a block":    {inside(`"target":{`, `"target":[],"x":{`), "target"},
		"missing":                  {inside(`"occurredAt":"2026-06-18T16:40:00Z",`, ""), "occurredAt"},
		"missing inside":           {inside(`"id":901,`, ""), "visitReport.id"},
		"too long":                 {inside("Maintenance visit - Essen Center", strings.Repeat("x", 501)), "visitReport.title"},
		"control character":        {inside("Maintenance visit - Essen Center", `bell \u0007`), "visitReport.title"},
		"NUL":                      {inside("Maintenance visit - Essen Center", `nul \u0000`), "visitReport.title"},
		"raw control character":    {inside("Maintenance visit - Essen Center", "line\nbreak"), "visitReport.title"},
		"invalid UTF-8":            {inside("Maintenance visit - Essen Center", "\xff\xfe"), "visitReport.title"},
		"lone surrogate":           {inside("Maintenance visit - Essen Center", `\ud800`), "visitReport.title"},
		"1,000 deep":               {inside(`"customerId":12`, `"x":`+strings.Repeat("[", 1000)+strings.Repeat("]", 1000)), "body"},
		"beyond 2^53":              {inside(`"customerId":12`, `"customerId":9007199254740993`), "customerId"},
		"far beyond":               {inside(`"customerId":12`, `"customerId":1e400`), "customerId"},
		"not whole":                {inside(`"customerId":12`, `"customerId":12.5`), "customerId"},
		"negative":                 {inside(`"customerId":12`, `"customerId":-1`), "customerId"},
		"duplicate key":            {inside(`"customerId":12`, `"customerId":12,"customerId":13`), "customerId"},
		"duplicate key inside":     {inside(`"id":901`, `"id":901,"id":902`), "visitReport.id"},
		"no time":                  {inside("2026-06-18T16:40:00Z", "18.6.2026"), "occurredAt"},
		"empty":                    {[]byte{}, ""},
		"no object":                {[]byte(`17`), "body"},
		"a null":                   {[]byte(`null`), "body"},
		"cut off":                  {good[:len(good)/2], ""},
		"data behind":              {append(slices.Clone(good), '{', '}'), "body"},
		"no events":                {[]byte(`{"events":[]}`), "events"},
		"events of a wrong type":   {[]byte(`{"events":{}}`), "events"},
		"an event of a wrong type": {[]byte(`{"events":[17]}`), "events[0]"},
		"1,001 events":             {tooMany, "events"},
		"another tenant's id form": {inside(acme.id, "no such tenant!"), "tenantId"},
	} {
		refusedWith(t, name, acme.post("/v1/events", c.body), c.path)
	}
	huge := append([]byte(`{"x":"`), make([]byte, 10<<20)...)
	for i := 6; i < len(huge); i++ {
		huge[i] = 'x'
	}
	acme.post("/v1/events", append(huge, '"', '}')).refused(http.StatusRequestEntityTooLarge, "payload_too_large")
	if after := acme.untouched(); after != before {
		t.Errorf("something was written:\n%s\n%s", before, after)
	}
	acme.post("/v1/events", good).want(http.StatusAccepted)
}

// badValues are wrong for every field of a body of the API; which are right for some is said by the field.
var badValues = map[string]any{
	"a list": []any{17}, "an object": object{"x": object{}}, "NUL": "nul \x00", "control": "bell \x07", "too long": strings.Repeat("x", 5000),
	"beyond 2^53": json.Number("9007199254740993"), "negative": -1, "a float": 1.5,
}

// Every field of every other route that takes a body: all wrong values, nothing half-written.
func TestBadFields(t *testing.T) {
	t.Parallel()
	acme, hook := newTenant(t, sharedService(t)), receive(t, nil)
	sub := acme.subscribe(hook, "*", nil)
	before := acme.untouched()
	full := wanted(hook, "*", object{"payloadOptions": object{"customerContext": true, "contactDetails": true, "summaryPreview": false, "billingDetails": false},
		"retrySchedule": []string{"1s"}, "timeoutSeconds": 10, "maxInFlight": 16, "status": "active"})
	one := "/v1/subscriptions/" + sub.ID
	for _, c := range []struct {
		method, path string
		body         object
		fine         []string // combinations of field and value that are right
	}{
		{http.MethodPost, "/v1/subscriptions", full, []string{"timeoutSeconds a float"}},
		{http.MethodPatch, one, full, []string{"timeoutSeconds a float"}},
		{http.MethodPost, one + "/pause", object{"reason": "x"}, nil},
		{http.MethodPost, one + "/resume", object{"skipParked": true}, nil},
		{http.MethodPost, one + "/rotate-secret", object{"overlapHours": 1}, nil},
		{http.MethodPost, one + "/test", object{"eventType": "visit_report.approved"}, nil},
		{http.MethodPost, "/v1/tenants", object{"tenantId": "new-" + acme.id, "name": "x"}, nil},
		{http.MethodPut, "/v1/tenants/" + acme.id + "/features/billing_webhooks", object{"enabled": true}, nil},
		{http.MethodPost, "/v1/api-keys", object{"name": "x", "tenantId": acme.id, "scopes": []string{"webhooks.read"}, "subscriptionId": sub.ID, "expiresAt": "2099-01-01T00:00:00Z"}, nil},
		{http.MethodPut, "/v1/directory/customers/12", object{"ordinavoCustomerId": 12, "name": "x", "customerNumber": "y"}, nil},
		{http.MethodPut, "/v1/directory/locations/34", object{"ordinavoLocationId": 34, "name": "x", "city": "y", "hasCoordinates": true}, nil},
		{http.MethodPut, "/v1/directory/contacts/56", object{"ordinavoContactId": 56, "displayName": "x"}, nil},
		{http.MethodPut, "/v1/directory/external-ids", object{"sourceSystem": "sap", "entityType": "customer", "ordinavoId": 12, "externalId": "x"}, nil},
	} {
		for field := range c.body {
			for name, bad := range badValues {
				if slices.Contains(c.fine, field+" "+name) {
					continue
				}
				body := maps.Clone(c.body)
				body[field] = bad
				refusedWith(t, fmt.Sprintf("%s %s, %s as %s", c.method, c.path, field, name), acme.do(c.method, c.path, body), field)
			}
		}
		body := maps.Clone(c.body)
		body["unknown"] = 1
		refusedWith(t, c.method+" "+c.path+", unknown", acme.do(c.method, c.path, body), "unknown")
		text, _ := json.Marshal(c.body)
		twice := append(slices.Clone(text[:len(text)-1]), append([]byte{','}, text[1:]...)...)
		refusedWith(t, c.method+" "+c.path+", duplicate keys", acme.do(c.method, c.path, twice), "")
		refusedWith(t, c.method+" "+c.path+", a list", acme.do(c.method, c.path, []any{}), "")
	}
	if after := acme.untouched(); after != before {
		t.Errorf("something was written:\n%s\n%s", before, after)
	}
}

// A batch of the directory with one bad record writes none.
func TestABadDirectoryBatchWritesNothing(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	p := acme.post("/v1/directory", object{
		"customers":   []object{{"ordinavoCustomerId": 100, "name": "good"}},
		"externalIds": []object{{"sourceSystem": "sap", "entityType": "customer", "ordinavoId": 100, "externalId": ""}},
	}).refused(http.StatusBadRequest, "validation_failed")
	if len(p.Errors["externalIds[0].externalId"]) == 0 {
		t.Errorf("got %v", p.Errors)
	}
	acme.get("/v1/directory/customers/100").refused(http.StatusNotFound, "not_found")
}

// Paths and queries are checked like bodies.
func TestBadPathsAndQueries(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	for _, path := range []string{
		"/v1/subscriptions/not-an-id", "/v1/subscriptions/sub_%00", "/v1/deliveries/dlv_%0a", "/v1/events/evt_" + strings.Repeat("0", 300), "/v1/events/%ff",
		"/v1/directory/customers/0", "/v1/directory/customers/x", "/v1/directory/customers/9007199254740993", "/v1/directory/external-ids", "/v1/events?limit=1&limit=2",
		"/v1/events?eventType=%00", "/v1/events?since=2026-01-01T00:00:00Z&until=2025-01-01T00:00:00Z", "/v1/events?unknown=1", "/v1/deliveries?status=%ff",
	} {
		if got := acme.get(path); got.status != http.StatusBadRequest && got.status != http.StatusNotFound {
			t.Errorf("%s: got %d: %s", path, got.status, got.body)
		}
	}
	for _, name := range []string{"", "no such tenant!", strings.Repeat("x", 65)} {
		if got := acme.as(name).get("/v1/events"); got.status != http.StatusBadRequest {
			t.Errorf("tenant %q: got %d: %s", name, got.status, got.body)
		}
	}
	acme.as("nobody").get("/v1/events").refused(http.StatusNotFound, "not_found")
}
