package stored_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/stored"
)

type inner struct {
	Note *string `json:"note,omitempty"`
}

type sample struct {
	Text  string    `json:"text"`
	Int   int64     `json:"int"`
	Time  time.Time `json:"time"`
	Inner *inner    `json:"inner,omitempty"`
	Some  string    `json:"some,omitempty"`
}

func (s sample) write() ([]byte, error) {
	o := stored.Begin(64)
	o.Text("text", s.Text)
	o.Int("int", s.Int)
	o.Time("time", s.Time)
	if s.Inner != nil {
		o.Open("inner")
		if s.Inner.Note != nil {
			o.Text("note", *s.Inner.Note)
		}
		o.Close()
	}
	o.SomeText("some", s.Some)
	return o.End()
}

func read(text string) (s sample, ok bool) {
	r := stored.Read(text)
	r.Text("text", &s.Text)
	r.Int("int", &s.Int)
	r.Time("time", &s.Time)
	s.Inner = stored.Inner(r, "inner", func(to *inner, r *stored.Reader) {
		to.Note = stored.If(r, "note", (*stored.Reader).Text)
	})
	r.Text("some", &s.Some)
	return s, r.End()
}

func TestWhatIsWrittenIsJSONAndReadAgain(t *testing.T) {
	text := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "<", "&", ">", `"`, `\`, "\u2028", "\x00", "\x7f", "ä"}))
	rapid.Check(t, func(t *rapid.T) {
		s := sample{Text: text.Draw(t, "text"), Int: rapid.Int64().Draw(t, "int"), Time: time.UnixMicro(rapid.Int64Range(0, 4e15).Draw(t, "time")).UTC(), Some: text.Draw(t, "some")}
		if rapid.Bool().Draw(t, "inner") {
			s.Inner = &inner{rapid.Ptr(text, true).Draw(t, "note")}
		}
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.write()
		if err != nil || string(got) != string(want) {
			t.Fatalf("wrote %s (%v), want %s", got, err, want)
		}
		if again, ok := read(string(got)); !ok || !reflect.DeepEqual(again, s) {
			t.Fatalf("%s was read as %+v (%t)", got, again, ok)
		}
	})
}

func TestATimeWithoutAFormFails(t *testing.T) {
	if text, err := (sample{Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}).write(); err == nil {
		t.Errorf("wrote %s", text)
	}
}
