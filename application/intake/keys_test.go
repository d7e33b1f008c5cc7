package intake_test

import (
	"encoding/json"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Whatever the list is: it is read as encoding/json reads it.
func TestKeysAreReadAsByEncodingJSON(t *testing.T) {
	key := rapid.Custom(func(t *rapid.T) intake.EventKey {
		return intake.EventKey{Tenant: tenant.ID(rapid.String().Draw(t, "tenant")), ID: rapid.String().Draw(t, "ID")}
	})
	rapid.Check(t, func(t *rapid.T) {
		text, err := json.Marshal(rapid.SliceOfN(key, 0, 4).Draw(t, "keys"))
		if err != nil {
			t.Fatal(err)
		}
		keysAsByJSON(t, text)
		keysAsByJSON(t, text[:rapid.IntRange(0, len(text)).Draw(t, "cut")])
	})
	for _, text := range []string{"null", "[ ]", "[,]", `[{}]`, `[{"t":"a","e":"b"},]`, `[{"t":"a","e":"b"}{"t":"a","e":"b"}]`, `[{"e":"b","t":"a"}]`, `[{"t":"a","e":"b","x":1}]`, `[] []`, `{}`, `[[]]`, `[{"t":1}]`} {
		keysAsByJSON(t, []byte(text))
	}
}

func keysAsByJSON(t rapid.TB, text []byte) {
	t.Helper()
	var want []intake.EventKey
	wantErr := json.Unmarshal(text, &want)
	got, err := intake.DecodeKeys(text)
	if (err == nil) != (wantErr == nil) || err == nil && !slices.Equal(got, want) {
		t.Errorf("%s is read as %v (%v), want %v (%v)", text, got, err, want, wantErr)
	}
}
