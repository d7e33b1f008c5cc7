package payload

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// standardString is the string as encoding/json writes it without HTML escaping.
func standardString(t rapid.TB, text string) string {
	t.Helper()
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(text); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(encoded.String(), "\n")
}

func TestStringsAreThoseOfEncodingJSON(t *testing.T) {
	every := strings.Builder{}
	for b := range 256 {
		every.WriteByte(byte(b))
		every.WriteString("\u2028\ufffd😀\"")
	}
	if got, want := string(appendString(nil, every.String())), standardString(t, every.String()); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOf(rapid.Byte()), func(b []byte) string { return string(b) })).Draw(t, "text")
		got := appendString([]byte("before"), text)
		if want := "before" + standardString(t, text); string(got) != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}

func FuzzString(f *testing.F) {
	f.Add("a\x00\"\\\n\xff\u2029")
	f.Fuzz(func(t *testing.T, text string) {
		if got, want := string(appendString(nil, text)), standardString(t, text); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

func TestSummaryPreview(t *testing.T) {
	word := strings.Repeat("ä", 9)
	for name, c := range map[string]struct{ text, want string }{
		"short":                    {"All fine.", "All fine."},
		"white space collapses":    {"  a\r\n\r\n b\t\u00a0c \u3000", "a b c"},
		"just fits":                {strings.Repeat("a", 280), strings.Repeat("a", 280)},
		"just fits with space":     {"\n" + strings.Repeat("a", 139) + "  " + strings.Repeat("b", 140) + "\n", strings.Repeat("a", 139) + " " + strings.Repeat("b", 140)},
		"one too long":             {strings.Repeat("a", 139) + " " + strings.Repeat("b", 141), strings.Repeat("a", 139) + "…"},
		"word ends at the limit":   {strings.Repeat("a", 279) + " b", strings.Repeat("a", 279) + "…"},
		"no room for the ellipsis": {"x " + strings.Repeat("a", 278) + " b", "x…"},
		"one endless word":         {strings.Repeat("😀", 300), strings.Repeat("😀", 279) + "…"},
		"many words":               {strings.Repeat(word+" ", 50), strings.Repeat(word+" ", 27) + word + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := summaryPreview(&c.text); got == nil || *got != c.want {
				t.Errorf("got  %s\nwant %q", text(got), c.want)
			}
		})
	}
	if summaryPreview(nil) != nil || summaryPreview(new(" \n")) != nil {
		t.Error("no summary has a preview")
	}
}

func TestSummaryPreviewProperties(t *testing.T) {
	words := rapid.SliceOf(rapid.StringOfN(rapid.RuneFrom([]rune("aé日😀 \n\t\u00a0")), 0, 120, -1))
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(words.Draw(t, "words"), " ")
		collapsed := strings.Join(strings.Fields(text), " ")
		preview := summaryPreview(&text)
		if preview == nil {
			if collapsed != "" {
				t.Fatalf("no preview of %q", text)
			}
			return
		}
		if again := summaryPreview(preview); again == nil || *again != *preview {
			t.Fatalf("%q is cut again", *preview)
		}
		if utf8.RuneCountInString(collapsed) <= MaxPreviewLength {
			if *preview != collapsed {
				t.Fatalf("%q became %q", collapsed, *preview)
			}
			return
		}
		kept, cut := strings.CutSuffix(*preview, "…")
		rest, prefix := strings.CutPrefix(collapsed, kept)
		if !cut || !prefix || utf8.RuneCountInString(*preview) > MaxPreviewLength || kept == "" {
			t.Fatalf("%q became %q", collapsed, *preview)
		}
		if next, _ := utf8.DecodeRuneInString(rest); !unicode.IsSpace(next) && strings.Contains(kept, " ") {
			t.Fatalf("%q was cut inside a word: %q", collapsed, *preview)
		}
	})
}

func text(value *string) string {
	if value == nil {
		return "nothing"
	}
	return *value
}
