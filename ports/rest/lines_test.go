package rest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// requests are sound, whatever is in their bodies.
var requests = []string{
	"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
	"\r\n\r\nGET /healthz HTTP/1.0\r\n\r\n",
	"POST /v1/events HTTP/1.1\r\nHost: x\r\ncontent-length:\t9 \r\n\r\n{\n\"a\":1\n}",
	"GET /v1/events HTTP/1.1\r\nContent-Length: 5\r\nHost: x\r\n\r\n\n\n\r\n\n",
	"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{\n\r\n00000a;a=b\r\n\n23456789\n\r\n2 \r\n\n}\r\n0;c\r\n\r\n",
	"POST /v1/events HTTP/1.1\r\nHost: x\r\nTRANSFER-ENCODING: Chunked\r\nContent-Length: 3\r\n\r\n1\r\n\n\r\n0\r\nX: y\r\n\r\n",
}

// What a sound request ends its lines with is never taken for a bare LF, and the first bare LF is found wherever it stands between
// bodies, however the bytes come in.
func TestBareLFIsFoundWhereverTheBytesAreCut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		sent := strings.Join(rapid.SliceOfN(rapid.SampledFrom(requests), 1, 4).Draw(t, "requests"), "")
		if took, broken := fed(t, sent); broken || took != len(sent) {
			t.Fatalf("%d of %d bytes of %q are sound", took, len(sent), sent)
		}
		last := rapid.SampledFrom(broken).Draw(t, "broken")
		sound, rest, _ := strings.Cut(last, "^")
		all := sent + sound + rest
		bare := len(sent) + len(sound) + strings.IndexByte(rest, '\n')
		if took, broken := fed(t, all); !broken || took > bare || took < len(sent) {
			t.Fatalf("%d of %d bytes of %q are sound, want %d to %d", took, len(all), all, len(sent), bare)
		}
	})
}

// broken are requests with a line that ends in a bare LF; a caret stands before the line.
var broken = []string{
	"^GET /healthz HTTP/1.1\nHost: x\r\n\r\n",
	"^\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
	"GET /healthz HTTP/1.1\r\n^Host: x\n\r\n",
	"GET /healthz HTTP/1.1\r\nHost: x\r\n^\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n^2\n{}\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2;a\r\n{}^\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n^0\n\r\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n^\n",
	"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n^X: y\n\r\n",
}

// fed gives the bytes in pieces, as a connection does.
func fed(t *rapid.T, sent string) (sound int, broken bool) {
	var l lines
	for sent != "" && l.wrong == "" {
		n := rapid.IntRange(1, len(sent)).Draw(t, "piece")
		sound += l.sound([]byte(sent[:n]))
		sent = sent[n:]
	}
	return sound, l.wrong != ""
}

// What it cannot follow it lets pass, for others to refuse, and it never holds more than a head.
func TestWhatCannotBeFollowedHoldsNothing(t *testing.T) {
	t.Parallel()
	for _, sent := range []string{
		"POST / HTTP/1.1\r\nContent-Length: ten\r\n\r\n\n",
		"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("f", 17) + "\r\n\n",
		"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\n",
	} {
		var l lines
		for _, b := range []byte(sent) {
			l.sound([]byte{b})
		}
		if l.wrong != "" || !l.lost || len(l.partial) > maxHeader {
			t.Errorf("%.60q: wrong %q, lost %v, %d bytes held", sent, l.wrong, l.lost, len(l.partial))
		}
	}
}

// A long line is followed too, though little of it is kept: a chunk's extension may be of any length.
func TestALongExtensionHidesNothing(t *testing.T) {
	t.Parallel()
	long := "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 3*maxHeader)
	for _, piece := range []int{1, 1000, maxHeader + 1} {
		for rest, want := range map[string]lines{
			"\r\n\n\r\n8001;x\r\n{": {due: true, skip: 0x8000},
			"\r\n\n\r\n0\r\n\r\n":   {},
			"\n\n\r\n0\r\n\r\n":     {wrong: wrongEnd},
		} {
			var l lines
			for part := range slices.Chunk([]byte(long+rest), piece) {
				if l.sound(part); l.due || l.wrong != "" {
					break
				}
				if len(l.partial) > maxHeader {
					t.Fatalf("%d bytes are kept", len(l.partial))
				}
			}
			if l.due != want.due || l.wrong != want.wrong || l.due && l.skip+1 < want.skip {
				t.Errorf("%q in pieces of %d: due %v, skip %d, wrong %q", rest, piece, l.due, l.skip, l.wrong)
			}
		}
	}
}

func BenchmarkLines(b *testing.B) {
	head := strings.Repeat("X-Some-Header: with a value\r\n", 10)
	sent := fmt.Appendf(nil, "POST /v1/events HTTP/1.1\r\n%sContent-Length: 20000\r\n\r\n%s", head, strings.Repeat("{\n", 10_000))
	var l lines
	b.ReportAllocs()
	for b.Loop() {
		if l.sound(sent[:1])+l.sound(sent[1:]) != len(sent) {
			b.Fatal("not sound")
		}
	}
}
