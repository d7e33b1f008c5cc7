package rest_test

import (
	"fmt"
	"strings"
	"testing"
)

// within is a value in an object in an object…
func within(depth int, value string) string {
	return strings.Repeat(`{"z":`, depth) + value + strings.Repeat("}", depth)
}

// What is in a text is no bracket, and what ends a text is not in it.
func TestHowDeepABodyMayBeNested(t *testing.T) {
	h := newHarness(t)
	inText := `"\"` + strings.Repeat(`[{\\`, 1000) + `"`
	for name, value := range map[string]string{"lists": nested(31), "objects": within(31, "1"), "a text": inText, "a text in objects": within(31, inText)} {
		h.call(h.admin, "POST", "/v1/events", eventWith("zz", value)).expect(202)
		if got := h.call(h.admin, "POST", "/v1/events", eventWith("zz", value)+"\n", "Content-Type", "application/x-ndjson"); got.status != 202 {
			t.Errorf("%s in a line: %s", name, got.body)
		}
	}
	for name, value := range map[string]string{"lists": nested(32), "objects": within(32, "1"), "behind a text": `["\"",` + nested(31) + `]`, "behind a backslash": `["\\",` + nested(31) + `]`} {
		for _, sent := range []struct{ path, form, field string }{
			{"/v1/events", "application/json", "body"}, {"/v1/subscriptions", "application/json", "body"}, {"/v1/events", "application/x-ndjson", "events[0]"},
		} {
			got := h.call(h.admin, "POST", sent.path, eventWith("zz", value), "Content-Type", sent.form).expect(400).refused("invalid_request", sent.field)
			if !strings.Contains(got.body, "is nested deeper than 32 levels") {
				t.Errorf("%s to %s as %s: %s", name, sent.path, sent.form, got.body)
			}
		}
	}
}

func TestWhatIsWrongWithJSONIsSaid(t *testing.T) {
	h := newHarness(t)
	for body, said := range map[string]string{
		`{"zz":{"a":1,"a":2}}`: `"zz.a":["is there twice"]`,
		`{"zz":`:               `"zz":["ends in the middle of the JSON"]`,
		"{\"zz\":\"\xff\"}":    `"zz":["is not valid UTF-8, at byte 7"]`,
		`{"zz": nul}`:          `"zz":["is not JSON, at byte 10"]`,
	} {
		for _, path := range []string{"/v1/events", "/v1/subscriptions"} {
			got := h.call(h.admin, "POST", path, body).expect(400).refused("invalid_request")
			if want := fmt.Sprintf(`"errors":{%s}`, said); !strings.Contains(got.body, want) || got.text("detail") != "The body is not JSON that this service understands." {
				t.Errorf("%s to %s: no %s in %s", body, path, want, got.body)
			}
		}
	}
}
