package rest_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// The page works where there is no internet: whatever it needs, this service serves.
func TestDocsPage(t *testing.T) {
	h := newHarness(t)
	size := 0
	for path, want := range map[string]string{
		"/docs": "text/html; charset=utf-8", "/docs/docs.css": "text/css; charset=utf-8", "/docs/docs.js": "text/javascript; charset=utf-8",
	} {
		got := h.call("", "GET", path, "").expect(http.StatusOK)
		for name, value := range map[string]string{
			"Content-Type": want, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache",
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		} {
			if got.header.Get(name) != value {
				t.Errorf("%s: %s is %q, want %q", path, name, got.header.Get(name), value)
			}
		}
		if elsewhere := regexp.MustCompile(`(?i)(https?:|wss?:)?//[a-z0-9]|@import|[^\w](?-i:url)\(|innerHTML|insertAdjacentHTML|document\.write|eval\(|\bstyle=|\bon[a-z]+="`).FindString(withoutComments(got.body)); elsewhere != "" {
			t.Errorf("%s has %q", path, elsewhere)
		}
		size += len(got.body)
	}
	if size > 40<<10 {
		t.Errorf("the page has %d bytes", size)
	}
	h.call("", "GET", "/docs/index.html", "").expect(http.StatusNotFound)
	h.call("", "GET", "/docs/../docs.go", "").expect(http.StatusNotFound)
}

func withoutComments(text string) string {
	return regexp.MustCompile(`(?m)^\s*// .*$`).ReplaceAllString(text, "")
}

// What the page refers to is there, and without JavaScript it leads to the documents.
func TestDocsReferences(t *testing.T) {
	h := newHarness(t)
	page := h.call("", "GET", "/docs", "").body
	references := regexp.MustCompile(`(?:href|src)="([^"#]+)"`).FindAllStringSubmatch(page, -1)
	if len(references) < 5 {
		t.Fatalf("%d references", len(references))
	}
	for _, reference := range references {
		h.call("", "GET", "/"+reference[1], "").expect(http.StatusOK)
	}
	if inline := regexp.MustCompile(`<script[^>]*>[^<]|<style`).FindString(page); inline != "" {
		t.Errorf("the policy blocks %q", inline)
	}
	_, rest, _ := strings.Cut(page, "<noscript>")
	for _, path := range []string{"openapi.json", "asyncapi.json"} {
		if fallback, _, _ := strings.Cut(rest, "</noscript>"); !strings.Contains(fallback, `href="`+path+`"`) {
			t.Errorf("without JavaScript there is no way to %s", path)
		}
	}
}

// The service's own commands refuse to run where a variable that begins like its settings is none of them.
func TestDocsPageSetsNoVariableOfTheService(t *testing.T) {
	script := newHarness(t).call("", "GET", "/docs/docs.js", "").body
	if !strings.Contains(script, "Bearer $KEY") {
		t.Error("the examples lack the variable of the README")
	}
	if variable := regexp.MustCompile(`\$ORDINAVO_\w*`).FindString(script); variable != "" {
		t.Errorf("the examples have %s set, with which no command of the service starts", variable)
	}
}

// Paper does not scroll: an example that is cut off, or a line that a header covers, cannot be read there.
func TestDocsPageIsPrintedWhole(t *testing.T) {
	style := newHarness(t).call("", "GET", "/docs/docs.css", "").body
	screen, paper, _ := strings.Cut(style, "@media print {")
	for scrolls, lies := range map[string]string{"max-height: 26rem": "max-height: none", "overflow-wrap: normal": "white-space: pre-wrap", "position: sticky": "position: static"} {
		if !strings.Contains(screen, scrolls) || !strings.Contains(paper, lies) {
			t.Errorf("on paper %s is not %s", scrolls, lies)
		}
	}
}

// On a telephone a description that names a long path would make the page wider than the screen, and the ends of all its lines be cut off.
func TestDocsPageBreaksLongWords(t *testing.T) {
	h := newHarness(t)
	document, style := h.call("", "GET", "/openapi.json", "").body, h.call("", "GET", "/docs/docs.css", "").body
	if long := regexp.MustCompile(`"description":"[^"]*?([\w/{}.]{35,})[^"]*"`).FindStringSubmatch(document); long == nil {
		t.Fatal("no description has a long word")
	} else if !regexp.MustCompile(`(?m)^\.body \{[^}]*overflow-wrap: break-word;`).MatchString(style) {
		t.Errorf("%s is one line however narrow the screen", long[1])
	}
}

// The page would call a schema "anything" that holds others in a way it does not follow, and not show what is in it.
func TestDocsPageFollowsEverySchema(t *testing.T) {
	h := newHarness(t)
	script, document := h.call("", "GET", "/docs/docs.js", "").body, h.call("", "GET", "/openapi.json", "").body
	used := 0
	for _, way := range []string{"$ref", "properties", "additionalProperties", "items", "prefixItems", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties", "dependentSchemas"} {
		if !regexp.MustCompile(`"` + regexp.QuoteMeta(way) + `":[\[{"]`).MatchString(document) {
			continue
		}
		used++
		if !strings.Contains(script, "."+way) {
			t.Errorf("the document has %s, which the page does not follow", way)
		}
	}
	if used < 6 {
		t.Errorf("checked %d ways", used)
	}
}

// Who knows nothing but the address, or has a path wrong, is led to the documents.
func TestTheDocumentsAreFound(t *testing.T) {
	h := newHarness(t)
	links := h.call("", "GET", "/", "").expect(http.StatusOK).json()
	for _, name := range []string{"docs", "openapi", "asyncapi"} {
		path, _ := links[name].(string)
		h.call("", "GET", path, "").expect(http.StatusOK)
	}
	if links["service"] != "Ordinavo Webhooks" || links["version"] == "" {
		t.Errorf("it says %v", links)
	}
	for _, wrong := range [][2]string{{"GET", "/v1/nowhere"}, {"GET", "/v1"}, {"BREW", "/v1/nowhere"}} {
		if got := h.call("", wrong[0], wrong[1], "").expect(http.StatusNotFound).refused("not_found"); !strings.Contains(got.text("detail"), "GET /docs") {
			t.Errorf("%s %s leads nowhere: %s", wrong[0], wrong[1], got.body)
		}
	}
}

// A tool that has the method wrong learns which are right (RFC 9110, section 15.5.6).
func TestAWrongMethodNamesTheRightOnes(t *testing.T) {
	h := newHarness(t)
	for route, want := range map[string]string{"DELETE /v1/events": "GET, POST, HEAD", "POST /": "GET, HEAD", "HEAD /v1/signature-doctor": "POST", "BREW /healthz": "GET, HEAD"} {
		method, path, _ := strings.Cut(route, " ")
		got := h.call("", method, path, "").expect(http.StatusMethodNotAllowed)
		if allow := got.header.Get("Allow"); allow != want {
			t.Errorf("%s: Allow is %q, want %q", route, allow, want)
		}
		if method == http.MethodHead {
			continue
		}
		if !strings.Contains(got.refused("invalid_request").text("detail"), "GET /docs") {
			t.Errorf("%s leads nowhere: %s", route, got.body)
		}
	}
}
