package rest_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/event"
)

type asyncMessage struct {
	Name, Title, ContentType string
	Headers                  json.RawMessage
	Payload                  reference
	CorrelationID            struct{ Location string }
	Bindings                 struct {
		HTTP struct {
			Headers        json.RawMessage
			BindingVersion string
		}
	}
	Examples []struct {
		Headers map[string]string
		Payload json.RawMessage
	}
}

type reference struct {
	Ref string `json:"$ref"`
}

type async struct {
	AsyncAPI, DefaultContentType string
	Info                         struct{ Title, Version, Description string }
	Servers                      map[string]struct {
		Host, Protocol string
		Variables      map[string]any
	}
	Channels map[string]struct {
		Address    string
		Parameters map[string]any
		Servers    []reference
		Messages   map[string]reference
	}
	Operations map[string]struct {
		Action   string
		Channel  reference
		Messages []reference
		Bindings struct {
			HTTP struct{ Method, BindingVersion string }
		}
	}
	Components struct {
		Schemas  map[string]json.RawMessage
		Messages map[string]asyncMessage
	}
}

func asyncDocument(t *testing.T, h *harness) (d async) {
	t.Helper()
	got := h.call("", "GET", "/asyncapi.json", "").expect(200)
	if got.header.Get("Content-Type") != "application/json" {
		t.Errorf("it is %s", got.header.Get("Content-Type"))
	}
	if err := json.Unmarshal([]byte(got.body), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func exampleTime(t *testing.T, headers map[string]string) time.Time {
	t.Helper()
	seconds, err := strconv.ParseInt(headers["webhook-timestamp"], 10, 64)
	if at := time.Unix(seconds, 0); err != nil || headers["X-Ordinavo-Timestamp"] != at.UTC().Format(time.RFC3339) {
		t.Errorf("the two times differ: %v", headers)
	}
	return time.Unix(seconds, 0)
}

// What AsyncAPI 3.0 requires of the objects that the document uses.
func TestAsyncAPI(t *testing.T) {
	d := asyncDocument(t, newHarness(t))
	if d.AsyncAPI != "3.0.0" || d.Info.Title == "" || d.Info.Version == "" || d.DefaultContentType != "application/json" {
		t.Errorf("%s %+v", d.AsyncAPI, d.Info)
	}
	for name, server := range d.Servers {
		if server.Protocol != "https" || !keysAre(server.Variables, server.Host) {
			t.Errorf("%s: %+v", name, server)
		}
	}
	for name, channel := range d.Channels {
		if !keysAre(channel.Parameters, channel.Address) || len(channel.Messages) != 19+4 {
			t.Errorf("%s: %s with %v and %d messages", name, channel.Address, channel.Parameters, len(channel.Messages))
		}
		for _, server := range channel.Servers {
			if _, found := d.Servers[strings.TrimPrefix(server.Ref, "#/servers/")]; !found {
				t.Errorf("%s is served at %s", name, server.Ref)
			}
		}
	}
	if len(d.Operations) != 19+4 || len(d.Components.Messages) != 19+4 || len(d.Servers) != 1 || len(d.Channels) != 1 {
		t.Errorf("%d operations, %d messages, %d servers, %d channels", len(d.Operations), len(d.Components.Messages), len(d.Servers), len(d.Channels))
	}
	for name, o := range d.Operations {
		channel := strings.TrimPrefix(o.Channel.Ref, "#/channels/")
		if o.Action != "send" || o.Bindings.HTTP.Method != "POST" || o.Bindings.HTTP.BindingVersion == "" || len(o.Messages) != 1 {
			t.Errorf("%s: %+v", name, o)
		}
		// An operation's messages are those of its channel, referred to there and not among the components.
		message, inChannel := strings.CutPrefix(o.Messages[0].Ref, "#/channels/"+channel+"/messages/")
		if _, found := d.Channels[channel].Messages[message]; !inChannel || !found || name != "send."+message {
			t.Errorf("%s: %s is no message of %s", name, o.Messages[0].Ref, channel)
		}
	}
}

// keysAre reports whether the keys are just the expressions in the text.
func keysAre(keys map[string]any, text string) bool {
	found := regexp.MustCompile(`\{(\w+)\}`).FindAllStringSubmatch(text, -1)
	return len(found) == len(keys) && !slices.ContainsFunc(found, func(match []string) bool { return keys[match[1]] == nil })
}

// Every $ref of both documents leads somewhere, and every name of a component is one that both specifications allow.
func TestReferencesResolve(t *testing.T) {
	h := newHarness(t)
	for path, least := range map[string]int{"/openapi.json": 100, "/asyncapi.json": 75} {
		var root any
		if err := json.Unmarshal([]byte(h.call("", "GET", path, "").expect(200).body), &root); err != nil {
			t.Fatal(err)
		}
		count := 0
		walk(root, "#", func(at string, node map[string]any) {
			if reference, ok := node["$ref"].(string); ok {
				count++
				if len(node) != 1 || lookup(root, reference) == nil {
					t.Errorf("%s: %s refers to %s", path, at, reference)
				}
			}
			if regexp.MustCompile(`^#/components/\w+$`).MatchString(at) {
				for name := range node {
					if !regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(name) {
						t.Errorf("%s: %s has %q", path, at, name)
					}
				}
			}
		})
		if count < least {
			t.Errorf("%s has %d references only", path, count)
		}
	}
}

func walk(node any, at string, visit func(at string, node map[string]any)) {
	switch n := node.(type) {
	case map[string]any:
		visit(at, n)
		for key, value := range n {
			if key != "example" && key != "examples" { // these are data
				walk(value, at+"/"+key, visit)
			}
		}
	case []any:
		for i, value := range n {
			walk(value, fmt.Sprint(at, "/", i), visit)
		}
	}
}

func lookup(node any, reference string) any {
	path, local := strings.CutPrefix(reference, "#/")
	if !local {
		return nil
	}
	for key := range strings.SplitSeq(path, "/") {
		members, _ := node.(map[string]any)
		node = members[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
	}
	return node
}

// Both documents say the same about each type.
func TestAsyncAPIAgreesWithOpenAPI(t *testing.T) {
	h := newHarness(t)
	items, _ := webhooksOf(t, h)
	d, document := asyncDocument(t, h), h.document()
	compiler := compilerOf(t, h.call("", "GET", "/asyncapi.json", "").body)
	for _, eventType := range event.AllTypes() {
		name := string(eventType)
		m, content := d.Components.Messages[name], items[name].Post.RequestBody.Content["application/json"]
		schema := strings.TrimPrefix(m.Payload.Ref, "#/components/schemas/")
		if m.Payload != reference(content.Schema) || string(d.Components.Schemas[schema]) != string(document.Components.Schemas[schema]) {
			t.Errorf("%s: %s is another schema than %s", name, m.Payload.Ref, content.Schema.Ref)
		}
		if m.Name != name || m.ContentType != "application/json" || m.CorrelationID.Location != "$message.header#/X-Ordinavo-Event-Id" || m.Bindings.HTTP.BindingVersion == "" {
			t.Errorf("%s: %+v", name, m)
		}
		example := m.Examples[0]
		if string(example.Payload) != string(content.Example) {
			t.Errorf("%s: the examples differ", name)
		}
		if err := valid(compile(t, compiler, "#/components/messages/"+name+"/headers"), mustJSON(t, example.Headers)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		described := properties(t, m.Headers)
		for header := range properties(t, m.Bindings.HTTP.Headers) {
			described[header] = true
		}
		for _, header := range append([]string{"Content-Type", sampleHeader}, sentHeaders...) {
			if !described[header] {
				t.Errorf("%s: %s is not described", name, header)
			}
		}
		if len(described) != 2+len(sentHeaders) {
			t.Errorf("%s: %v", name, described)
		}
	}
}
