package e2e_test

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// document is the service's OpenAPI document; every answer of the tests is held to it.
type document struct {
	root     object
	paths    map[string]map[string]any // path template → method → operation
	mu       sync.Mutex                // of the rest: the compiler is not for several goroutines
	compiler *jsonschema.Compiler
	answered map[string]bool // operations that have said yes
}

var theDocument struct {
	once sync.Once
	*document
	err error
}

const documentName = "openapi.json"

// documentOf reads the document once; all processes are of one binary.
func documentOf(t *testing.T, base string) *document {
	t.Helper()
	theDocument.once.Do(func() { theDocument.document, theDocument.err = readDocument(base) })
	if theDocument.err != nil {
		t.Fatal(theDocument.err)
	}
	return theDocument.document
}

func readDocument(base string) (*document, error) {
	response, err := http.Get(base + "/openapi.json")
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	content, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	d := &document{root: content.(object), paths: map[string]map[string]any{}, compiler: jsonschema.NewCompiler(), answered: map[string]bool{}}
	d.compiler.AssertFormat()
	for template, item := range d.root["paths"].(object) {
		d.paths[template] = item.(object)
	}
	return d, d.compiler.AddResource(documentName, content)
}

// check fails the test when the answer is not one that the document promises.
func (d *document) check(t *testing.T, method, path string, got answer) {
	t.Helper()
	if got.status >= http.StatusInternalServerError && got.status != http.StatusServiceUnavailable {
		t.Errorf("%s: got %d: %s", got.request, got.status, got.body)
	}
	checkRateHeaders(t, got)
	template := d.template(path)
	if _, known := d.paths[template][strings.ToLower(method)]; !known {
		if got.status < http.StatusBadRequest {
			t.Errorf("%s: answered %d, but the document has no such operation", got.request, got.status)
		}
		return
	}
	if got.status < http.StatusMultipleChoices {
		d.mu.Lock()
		d.answered[strings.ToUpper(method)+" "+template] = true
		d.mu.Unlock()
	}
	documented, at := d.resolved("paths", template, strings.ToLower(method), "responses", strconv.Itoa(got.status))
	if documented == nil {
		t.Errorf("%s: the document does not have the answer %d: %s", got.request, got.status, got.body)
		return
	}
	d.checkHeaders(t, documented, at, got)
	contents, _ := documented["content"].(object)
	mediaType, _, _ := mime.ParseMediaType(got.header.Get("Content-Type"))
	if len(contents) == 0 && len(got.body) == 0 {
		return
	}
	if _, known := contents[mediaType]; !known {
		t.Errorf("%s: the document does not have %q for %d", got.request, mediaType, got.status)
		return
	}
	if strings.HasSuffix(mediaType, "json") {
		d.validate(t, got, append(at, "content", mediaType, "schema"))
	}
}

func (d *document) validate(t *testing.T, got answer, at []string) {
	t.Helper()
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(got.body))
	if err != nil {
		t.Errorf("%s: the answer is not JSON: %v: %s", got.request, err, got.body)
		return
	}
	if err := d.valid(value, at); err != nil {
		t.Errorf("%s: the answer is not as documented: %v\n%s", got.request, err, got.body)
	}
}

// valid holds a value to the schema that is at a place of the document.
func (d *document) valid(value any, at []string) error {
	d.mu.Lock()
	schema, err := d.compiler.Compile(documentName + pointer(at...))
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return schema.Validate(value)
}

// resolved is what the document has at a place, or where that refers to, and its own place; nil when there is nothing.
func (d *document) resolved(at ...string) (object, []string) {
	node := d.root
	for _, token := range at {
		node, _ = node[token].(object)
	}
	if ref, ok := node["$ref"].(string); ok {
		return d.resolved(strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	return node, at
}

// unanswered is the operations that no test has seen succeed.
func (d *document) unanswered() (missing []string) {
	for template, item := range d.paths {
		for method := range item {
			route := strings.ToUpper(method) + " " + template
			if !d.answered[route] {
				missing = append(missing, route)
			}
		}
	}
	slices.Sort(missing)
	return missing
}

// pointer is a JSON pointer as the fragment of a URL.
func pointer(tokens ...string) string {
	var text strings.Builder
	text.WriteByte('#')
	for _, token := range tokens {
		text.WriteString("/" + url.PathEscape(strings.NewReplacer("~", "~0", "/", "~1").Replace(token)))
	}
	return text.String()
}

// template is the document's path that a path is of; a literal one wins.
func (d *document) template(path string) string {
	path, _, _ = strings.Cut(path, "?")
	best := ""
	for template := range d.paths {
		if matches(template, path) && (best == "" || strings.Count(template, "{") < strings.Count(best, "{")) {
			best = template
		}
	}
	return best
}

func matches(template, path string) bool {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return false
	}
	for i := range want {
		if want[i] != got[i] && !(strings.HasPrefix(want[i], "{") && got[i] != "") {
			return false
		}
	}
	return true
}
