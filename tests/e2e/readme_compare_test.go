package e2e_test

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const anything = "…"

// same holds a value to what the README says, at a path.
func same(path string, want, got any) error {
	switch w := want.(type) {
	case string:
		if w == anything {
			return nil
		}
		if g, ok := got.(string); ok && glob(w).MatchString(g) {
			return nil
		}
	case []any:
		g, ok := got.([]any)
		if !ok || len(w) != len(g) {
			break
		}
		for i := range w {
			if err := same(fmt.Sprintf("%s[%d]", path, i), w[i], g[i]); err != nil {
				return err
			}
		}
		return nil
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			return sameObject(path, w, g)
		}
	default:
		if want == got {
			return nil
		}
	}
	return fmt.Errorf("%s: got %v, want %v", path, got, want)
}

func sameObject(path string, want, got map[string]any) error {
	_, open := want[anything]
	for _, key := range slices.Sorted(maps.Keys(want)) {
		value, there := got[key]
		if key == anything {
			continue
		}
		if !there {
			return fmt.Errorf("%s.%s is missing", path, key)
		}
		if err := same(path+"."+key, want[key], value); err != nil {
			return err
		}
	}
	for key := range got {
		if _, there := want[key]; !there && !open {
			return fmt.Errorf("%s.%s is not in the README", path, key)
		}
	}
	return nil
}

// glob is a pattern in which … is any text without a line break.
func glob(pattern string) *regexp.Regexp {
	return regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(pattern), anything, ".*") + "$")
}

// sameText compares line by line; a line of … alone is any number of lines.
func sameText(want, got string) error {
	var form strings.Builder
	form.WriteString("^")
	for line := range strings.Lines(strings.TrimSpace(want) + "\n") {
		line = strings.TrimRight(line, " \n")
		if line == anything {
			form.WriteString(`(.*\n)*`)
			continue
		}
		form.WriteString(strings.ReplaceAll(regexp.QuoteMeta(line), anything, ".*") + ` *\n`)
	}
	if !regexp.MustCompile(form.String() + "$").MatchString(strings.TrimSpace(got) + "\n") {
		return fmt.Errorf("it does not print\n%s", want)
	}
	return nil
}

// The comparison itself can fail.
func TestREADMEComparison(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{`{"id": "evt_…", "n": 1}`, `{"n":1,"id":"evt_0123"}`, true},
		{`{"id": "evt_…", "n": 1}`, `{"n":2,"id":"evt_0123"}`, false},
		{`{"id": "evt_…"}`, `{"id":"sub_0123"}`, false},
		{`{"id": "…"}`, `{"id":17}`, true},
		{`{"id": 1}`, `{"id":1,"more":2}`, false},
		{`{"id": 1, "…": "…"}`, `{"id":1,"more":2}`, true},
		{`{"id": 1, "gone": "…"}`, `{"id":1}`, false},
		{`[1, 2]`, `[1]`, false},
		{`{"a": null}`, `{"a": false}`, false},
		{`{} {}`, `{}`, false},
		{`{}`, `no JSON`, false},
	} {
		if err := sameJSON(c.want, c.got); (err == nil) != c.same {
			t.Errorf("%s and %s: %v", c.want, c.got, err)
		}
	}
	for _, c := range []struct {
		want, got string
		same      bool
	}{
		{"1 accepted, … duplicates", "1 accepted, 0 duplicates\n", true}, {"1 accepted", "2 accepted", false}, {"a\n…\nz", "a\nb\nc\nz", true},
		{"a\n…\nz", "a\nz", true}, {"a", "a\nb", false}, {"a.c", "abc", false},
	} {
		if err := sameText(c.want, c.got); (err == nil) != c.same {
			t.Errorf("%q and %q: %v", c.want, c.got, err)
		}
	}
	if got := examplesOf("```sh\nls\n```\ntext\n```json\n{}\n```\n```console\n$ rm\n```\n```sh\npwd\n```\n```console\n$ x\n```\n```text\nno\n```"); len(got) != 2 ||
		got[0].script != "ls\n" || got[0].expected != "{}\n" || got[1].script != "pwd\n" || got[1].expected != "" {
		t.Errorf("got %+v", got)
	}
}
