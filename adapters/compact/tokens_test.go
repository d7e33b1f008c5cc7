package compact

import (
	"bytes"
	"encoding/hex"
	"regexp"
	"testing"

	"pgregory.net/rapid"
)

// TestEachRunOfDigitsIsPacked compares packHex, which looks at few of the bytes, to a search for each run.
func TestEachRunOfDigitsIsPacked(t *testing.T) {
	t.Parallel()
	run := regexp.MustCompile(`[0-9a-f]{16,510}`)
	rapid.Check(t, func(t *rapid.T) {
		var content []byte
		for range rapid.IntRange(0, 8).Draw(t, "runs") {
			content = append(content, rapid.StringMatching(`[xyz]{0,20}`).Draw(t, "between")...)
			content = append(content, bytes.Repeat([]byte{'a'}, rapid.OneOf(rapid.IntRange(0, 40), rapid.IntRange(500, 530)).Draw(t, "digits"))...)
		}
		want := run.ReplaceAllFunc(content, func(digits []byte) []byte {
			n := len(digits) / 2
			packed, _ := hex.AppendDecode([]byte{hexToken, byte(n)}, digits[:2*n])
			return append(packed, digits[2*n:]...)
		})
		if got := packHex(nil, content); !bytes.Equal(got, want) {
			t.Fatalf("%q is packed as %q, want %q", content, got, want)
		}
	})
}
