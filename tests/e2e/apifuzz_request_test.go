package e2e_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// fuzzRequest is one request; why is empty unless it must be refused.
type fuzzRequest struct {
	fuzzOperation
	caller, target, why string
	header              http.Header
	body                []byte
	mutations           []string
}

// request makes one for the operation: as the document has it, and then perhaps wrong somewhere.
func (f *fuzz) request(o fuzzOperation) *fuzzRequest {
	r := &fuzzRequest{fuzzOperation: o, target: o.path, header: http.Header{}}
	f.asSomeone(r)
	f.parameters(r)
	if body, ok := o.spec["requestBody"].(object); ok {
		f.fillBody(r, body["content"].(object), body["required"] == true)
	}
	return r
}

func (f *fuzz) asSomeone(r *fuzzRequest) {
	r.caller = pick(f.generator, []string{"platform", "full", "weak", "theirs", "revoked", "none", "made up"})
	if f.chance(75) {
		r.caller = pick(f.generator, []string{"platform", "full"})
	}
	if key := f.world.keys[r.caller]; key != "" {
		r.header.Set("Authorization", "Bearer "+key)
	}
	security, _ := r.spec["security"].([]any)
	if len(security) > 0 && slices.Contains([]string{"revoked", "none", "made up"}, r.caller) {
		r.why = "no valid key"
	}
}

func (r *fuzzRequest) mutated(how, why string) {
	r.mutations = append(r.mutations, how)
	if why != "" {
		r.why = why
	}
}

func (f *fuzz) parameters(r *fuzzRequest) {
	query := url.Values{}
	parameters, _ := r.spec["parameters"].([]any)
	for _, each := range parameters {
		p := f.resolve(each)
		name := p["name"].(string)
		if p["required"] != true && p["in"] != "path" && !f.given(r, name) {
			continue
		}
		text := asText(f.value(name, p["schema"], 0))
		switch p["in"] {
		case "path":
			f.segment(r, name, text)
		case "query":
			query.Set(name, text)
		case "header":
			r.header.Set(name, strings.Map(printableASCII, text))
		}
	}
	encoded := query.Encode()
	if f.chance(6) {
		wrong := pick(f.generator, wrongQueries)
		encoded += "&" + wrong
		r.mutated("query "+wrong, map[bool]string{true: "unknown parameter"}[wrong == "unknown=1" && strings.HasPrefix(r.path, "/v1/")])
	}
	if encoded != "" {
		r.target += "?" + encoded
	}
	if f.chance(4) && r.method != http.MethodGet {
		key := pick(f.generator, []string{strings.Repeat("k", 256), "\u00e9", "again"})
		r.header.Set("Idempotency-Key", key)
		r.mutated("idempotency key", "")
	}
}

// given is whether a parameter that is not needed is there. A platform key needs to name a tenant.
func (f *fuzz) given(r *fuzzRequest, name string) bool {
	switch name {
	case "X-Ordinavo-Tenant":
		return r.caller == "platform"
	case "cursor", "Idempotency-Key", "If-Match":
		return f.chance(10)
	default:
		return f.chance(25)
	}
}

func printableASCII(r rune) rune {
	if r < ' ' || r > '~' {
		return -1
	}
	return r
}

func asText(value any) string {
	if number, ok := value.(float64); ok {
		return strconv.FormatFloat(number, 'f', -1, 64)
	}
	return fmt.Sprint(value)
}

func (f *fuzz) segment(r *fuzzRequest, name, text string) {
	segment := url.PathEscape(text)
	if f.chance(8) {
		segment = pick(f.generator, wrongSegments)
		r.mutated(name+" "+segment[:min(len(segment), 40)], "")
	} else if r.caller == "theirs" && slices.Contains([]string{"subscriptionId", "eventId", "deliveryId", "jobId", "keyId"}, name) && slices.Contains(f.world.ids[name], any(text)) {
		r.why = "another tenant's"
	}
	r.target = strings.Replace(r.target, "{"+name+"}", segment, 1)
}

func (f *fuzz) fillBody(r *fuzzRequest, contents object, required bool) {
	content := contents["application/json"].(object)
	r.header.Set("Content-Type", "application/json")
	if _, ok := contents["application/x-ndjson"]; ok && f.chance(15) {
		f.fillLines(r, content)
		return
	}
	value := f.withKnown(content["example"])
	if content["example"] == nil || f.chance(50) {
		value = f.value("", content["schema"], 0)
	}
	switch f.IntN(10) {
	case 0, 1, 2, 3:
		value = f.mutateValue(value)
		r.body = encoded(value)
		r.mutated("body", "")
		f.mustFit(r)
	case 4:
		var how string
		r.body, how = f.mutateBytes(encoded(value))
		r.mutated(how, map[bool]string{true: "not a JSON object"}[required])
	case 5:
		r.body = encoded(value)
		mediaType := pick(f.generator, []string{"text/plain", "application/xml", "application/json; charset=latin1", "multipart/form-data", "json", "application/json, text/plain", ";"})
		r.header.Set("Content-Type", mediaType)
		r.mutated("Content-Type "+mediaType, "wrong content type")
	default:
		r.body = encoded(value)
		f.mustFit(r)
	}
}

// mustFit says that a body must be refused that the document's schema does not take. A null is as good as an absent field there.
func (f *fuzz) mustFit(r *fuzzRequest) {
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.body))
	if err != nil || len(r.body) > 1<<20 {
		return
	}
	at := pointer("paths", r.path, strings.ToLower(r.method), "requestBody", "content", "application/json", "schema")
	schema, err := f.document.compiler.Compile(documentName + at)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil && schema.Validate(withoutNulls(value)) != nil {
		r.why = "against the schema: " + strings.ReplaceAll(err.Error(), "\n", " ")
	}
}

func (f *fuzz) fillLines(r *fuzzRequest, content object) {
	r.header.Set("Content-Type", "application/x-ndjson")
	var lines []string
	for range 1 + f.IntN(4) {
		lines = append(lines, string(encoded(f.withKnown(content["example"]))))
	}
	if f.chance(40) {
		lines[f.IntN(len(lines))] = pick(f.generator, []string{"", "{", "null", "[]", "{}", "\x00", "\xff"})
		r.mutated("a line", "")
	}
	r.body = []byte(strings.Join(lines, "\n"))
}
