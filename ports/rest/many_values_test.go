package rest_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/ports/rest"
)

// Each wrong value costs an error: the four million of 8 MiB took 2 GB. The race detector takes a quarter more than the service.
func TestManyWrongValuesTakeLittleMemory(t *testing.T) {
	h := newHarness(t)
	var members strings.Builder
	for i := range 600_000 {
		fmt.Fprintf(&members, `"%d":1,`, i)
	}
	for name, c := range map[string]struct {
		route, body, code, field string
		memory                   uint64 // MiB
		most                     string // values
	}{
		"numbers":               {"POST /v1/directory", `{"customers":` + list("1", 4_000_000) + `}`, "invalid_request", "body", 300, "30000"},
		"objects":               {"POST /v1/directory", `{"externalIds":` + list("{}", 2_500_000) + `}`, "invalid_request", "body", 300, "30000"},
		"to a route without":    {"DELETE /v1/directory/customers/12", "{" + members.String() + `"a":1}`, "invalid_request", "body", 300, "1000"},
		"to a route for one":    {"PUT /v1/directory/customers/12", list("1", 400_000), "invalid_request", "body", 100, "1000"},
		"most numbers to check": {"POST /v1/directory", `{"customers":` + list("1", 29_000) + `}`, "validation_failed", "customers", 400, ""},
		"most objects to check": {"POST /v1/directory", `{"externalIds":` + list("{}", 14_500) + `}`, "validation_failed", "externalIds", 400, ""},
	} {
		method, path, _ := strings.Cut(c.route, " ")
		var got answer
		if n := rest.Allocated(func() { got = h.call(h.admin, method, path, c.body) }); n > c.memory<<20 {
			t.Errorf("%s: %d MiB", name, n>>20)
		}
		if got.expect(400).refused(c.code, c.field); c.field == "body" && !strings.Contains(got.body, "has more than "+c.most+" values") {
			t.Errorf("%s: %s", name, got.body)
		}
	}
}

func TestTheLargestDirectoryBatchIsTaken(t *testing.T) {
	h := newHarness(t)
	text := strings.Repeat("{,[", 66)
	records := func(n int, format string, args ...any) string {
		var list strings.Builder
		for i := range n {
			fmt.Fprintf(&list, format+",", append([]any{i + 1}, args...)...)
		}
		return strings.TrimSuffix(list.String(), ",")
	}
	locations := records(5000, `{"ordinavoLocationId":%d,"name":%q,"city":%q,"hasCoordinates":true}`, text, text)
	h.call(h.admin, "POST", "/v1/directory", `{"customers":[],"locations":[`+locations+`],"contacts":[],"externalIds":[]}`).expect(200)
	external := records(5000, `{"ordinavoId":%d,"sourceSystem":"sap","entityType":"customer","externalId":%q}`, text)
	h.call(h.admin, "POST", "/v1/directory", `{"externalIds":[`+external+`]}`).expect(200)
	h.call(h.admin, "POST", "/v1/directory", `{"externalIds":[`+external+`],"contacts":[{"ordinavoContactId":1}]}`).expect(400).refused("validation_failed", "body")
}
