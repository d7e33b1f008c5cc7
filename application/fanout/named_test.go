package fanout_test

import (
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/fanout"
)

// Whatever the list is: it is read as encoding/json reads it.
func TestNamedEventsAreReadAsByEncodingJSON(t *testing.T) {
	named := rapid.Custom(func(t *rapid.T) fanout.Named {
		return fanout.Named{Place: rapid.Int().Draw(t, "place"), ID: rapid.String().Draw(t, "ID")}
	})
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(rapid.SliceOfN(named, 0, 4).Draw(t, "keys"))
		if err != nil {
			t.Fatal(err)
		}
		namedAsByJSON(t, text)
		namedAsByJSON(t, text[:rapid.IntRange(0, len(text)).Draw(t, "cut")])
	})
	for _, text := range []string{"null", "[ ]", "[,]", `[{}]`, `[{"n":1,"e":"b"},]`, `[{"n":1,"e":"b"}{"n":1,"e":"b"}]`, `[{"e":"b","n":1}]`, `[{"n":1,"e":"b","x":1}]`, `[] []`, `{}`, `[[]]`, `[{"n":"1"}]`} {
		namedAsByJSON(t, []byte(text))
	}
}

func namedAsByJSON(t rapid.TB, text []byte) {
	t.Helper()
	var want []fanout.Named
	wantErr := json.Unmarshal(text, &want)
	got, err := fanout.DecodeNamed(text)
	if (err == nil) != (wantErr == nil) || err == nil && !slices.Equal(got, want) {
		t.Errorf("%s is read as %v (%v), want %v (%v)", text, got, err, want, wantErr)
	}
}

// What waits is taken by the place of its first: names with another one are no names of it.
func TestWhatWaitsBeginsInItsPlace(t *testing.T) {
	if got, err := fanout.DecodeDeferred([]byte(`[{"n":3,"e":"b"}]`), 3); err != nil || !slices.Equal(got, []fanout.Named{{Place: 3, ID: "b"}}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, text := range []string{`[{"n":2,"e":"b"}]`, `[{"n":4,"e":"b"}]`, "[]", "null", "["} {
		if got, err := fanout.DecodeDeferred([]byte(text), 3); err == nil || got != nil {
			t.Errorf("%s is read as %v", text, got)
		}
	}
}
