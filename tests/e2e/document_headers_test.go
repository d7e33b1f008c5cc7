package e2e_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"testing"
)

// Contract, section 5: on every answer, whatever it is an answer to, and also where there is no limit.
func checkRateHeaders(t *testing.T, got answer) {
	t.Helper()
	for _, name := range []string{"X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"} {
		if n, err := strconv.Atoi(got.header.Get(name)); err != nil || n < 0 {
			t.Errorf("%s: %d has %s: %q", got.request, got.status, name, got.header.Get(name))
		}
	}
}

// tells are headers that callers reckon with: an answer has those that the document names for it, and no others of the kind.
var tells = regexp.MustCompile(`^(X-.*|Etag|Location|Retry-After|Www-Authenticate|Idempotency-.*)$`)

// forOthers are headers for browsers and proxies.
var forOthers = []string{"X-Content-Type-Options", "X-Accel-Buffering"}

// checkHeaders holds the headers of an answer to what the document says of it at a place.
func (d *document) checkHeaders(t *testing.T, documented object, at []string, got answer) {
	t.Helper()
	known := slices.Clone(forOthers)
	headers, _ := documented["headers"].(object)
	for name := range headers {
		known = append(known, http.CanonicalHeaderKey(name))
		header, place := d.resolved(append(slices.Clone(at), "headers", name)...)
		if text := got.header.Get(name); text != "" {
			d.checkHeader(t, name, text, header, append(place, "schema"), got)
		} else if header["required"] == true {
			t.Errorf("%s: %d has no %s, which the document promises: %v", got.request, got.status, name, got.header)
		}
	}
	for name := range got.header {
		if tells.MatchString(name) && !slices.Contains(known, name) {
			t.Errorf("%s: the document does not have the header %s of %d", got.request, name, got.status)
		}
	}
}

func (d *document) checkHeader(t *testing.T, name, text string, header object, schema []string, got answer) {
	t.Helper()
	var value any = text
	if header["schema"].(object)["type"] == "integer" {
		value = json.Number(text)
	}
	if err := d.valid(value, schema); err != nil {
		t.Errorf("%s: %s: %q is not as documented: %v", got.request, name, text, err)
	}
}
