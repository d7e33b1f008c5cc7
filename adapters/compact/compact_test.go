package compact

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/event"
)

// TestWhatIsPackedComesBack draws any content with any known texts.
func TestWhatIsPackedComesBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		known := rapid.SliceOfN(rapid.StringMatching(`[a-z_]{0,12}`), 0, maxKnown).Draw(t, "known")
		var content []byte
		for _, piece := range rapid.SliceOf(rapid.OneOf(rapid.SliceOf(rapid.Byte()), rapid.Map(rapid.String(), func(s string) []byte { return []byte(s) }),
			rapid.Map(rapid.SampledFrom(append(known, `"eventId":"`, "0123456789abcdef", strings.Repeat("f", 1021))), func(s string) []byte { return []byte(s) }))).Draw(t, "pieces") {
			content = append(content, piece...)
		}
		kind := Kind(rapid.IntRange(0, len(newest)-1).Draw(t, "kind"))
		before := bytes.Clone(content)
		packed := Pack(kind, content, known...)
		got, err := Unpack(packed, known...)
		size := len(packed)
		clear(packed) // what was unpacked has none of its memory
		if err != nil || !bytes.Equal(got, before) || !bytes.Equal(content, before) {
			t.Fatalf("%q with %q came back as %q, %v", before, known, got, err)
		}
		if size > len(content)+1 {
			t.Fatalf("%d bytes became %d", len(content), size)
		}
	})
}

func TestARecordComesBack(t *testing.T) {
	t.Parallel()
	row := Row{Tenant: "tenant-123", Stream: "delivery/dlv_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", RecordedAt: 1767225600123456}
	rows := [][2]string{{`{}`, ``}, {`{"traceparent":"00-1"}`, `{"at":"2026-01-01T00:00:00.123456Z"}`}, {`{}`, "\n\x00\xff"}, {`{"a":"b"}`, strings.Repeat("tenant-123 \n", 99)}}
	var packed [][]byte // all before any is looked at: they share no buffer
	for _, c := range rows {
		packed = append(packed, row.Pack([]byte(c[0]), []byte(c[1])))
	}
	var unpacked [][2][]byte
	for i := range rows {
		metadata, data, err := row.Unpack(nil, packed[i])
		if err != nil {
			t.Fatal(err)
		}
		unpacked = append(unpacked, [2][]byte{metadata, data})
	}
	for i, c := range rows {
		metadata, data := unpacked[i][0], unpacked[i][1]
		if string(metadata) != c[0] || string(data) != c[1] {
			t.Errorf("%q came back as %q and %q", c, metadata, data)
		}
		if metadata, data, err := row.Unpack([]byte(c[0]), []byte(c[1])); err != nil || string(metadata) != c[0] || string(data) != c[1] {
			t.Errorf("what is not packed, %q, is read as %q and %q, %v", c, metadata, data, err)
		}
	}
	if _, _, err := row.Unpack(nil, []byte(`{"no":"metadata"}`)); !errors.Is(err, ErrUnreadable) {
		t.Errorf("a record without metadata gave %v", err)
	}
}

// TestPackingPays holds each kind to what it is for.
func TestPackingPays(t *testing.T) {
	t.Parallel()
	plain, packed := map[Kind]int{}, map[Kind]int{}
	for seed := range uint64(20) {
		for _, s := range newWorld(9000 + seed).all() {
			plain[s.kind] += len(s.content)
			packed[s.kind] += len(Pack(s.kind, s.content, s.known...))
		}
	}
	for kind, at := range newest {
		name := dictionaries[at]
		ratio := float64(packed[Kind(kind)]) / float64(plain[Kind(kind)])
		t.Logf("%s: %.2f of %d bytes", name, ratio, plain[Kind(kind)])
		if ratio > 0.37 {
			t.Errorf("%s: packed is %.2f of plain", name, ratio)
		}
	}
}

// dictionarySums never change: what was stored with a dictionary can be read with that alone.
var dictionarySums = map[string]string{
	"event.1":       "346670c5b601ebef848bc8983c7a4b8b0b59c82967f76012b5e6e38179cb9619",
	"event.1.code":  "b3c57f2dd2c88cc94c2b5cca6973d9b2a567cb42cdf8f97eb4af662f3575fbe1",
	"body.1":        "ebcebf773d05e0de97c8a68a37742fef7892db83ebe378967b795b1e55a31a6e",
	"body.1.code":   "86617f887f9213f29de7cdcefad97021715f17a2b7ef979a21bf045598424640",
	"record.1":      "0667e19b8a2502a4da68bb62ddb84714fb7c5f0cdf6b1191464ebd5de6a2993a",
	"record.1.code": "e530cd88c5cb13d852714369f31ef1b46bb739ddcf6cbf622da095dbd25bb524",
}

func TestDictionariesStay(t *testing.T) {
	t.Parallel()
	for name, want := range dictionarySums {
		sum := sha256.Sum256(embedded(name))
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s has changed: %s", name, got)
		}
	}
	if len(dictionarySums) != 2*len(dictionaries) {
		t.Errorf("%d dictionaries and codes are used, and %d were ever", 2*len(dictionaries), len(dictionarySums))
	}
}

var update = flag.Bool("update", false, "add what is stored now to the golden file")

// TestEveryFormIsRead reads contents as they were stored once, by forms and dictionaries of then.
func TestEveryFormIsRead(t *testing.T) {
	t.Parallel()
	const file = "testdata/stored.golden"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		var lines []string
		for _, s := range append(newWorld(77).ofEvent(event.BillingEventFailed), newWorld(78).ofSubscription()...) {
			lines = append(lines, strings.Join([]string{base64.StdEncoding.EncodeToString(Pack(s.kind, s.content, s.known...)), base64.StdEncoding.EncodeToString(s.content), strings.Join(s.known, ",")}, " "))
		}
		if err := os.WriteFile(file, append(append(text, '\n'), strings.Join(lines, "\n")...), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for line := range strings.Lines(string(text)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), " ")
		stored, err := base64.StdEncoding.DecodeString(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		want, err := base64.StdEncoding.DecodeString(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		var known []string
		if fields[2] != "" {
			known = strings.Split(fields[2], ",")
		}
		if got, err := Unpack(stored, known...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	for stored, want := range map[string]string{`{"old":"row"}`: `{"old":"row"}`, "[]": "[]", " 1": " 1", "": "", "\x00\x01\x02": "\x01\x02"} {
		if got, err := Unpack([]byte(stored)); err != nil || string(got) != want {
			t.Errorf("%q is read as %q, %v", stored, got, err)
		}
	}
}

func TestDamageIsAnError(t *testing.T) {
	t.Parallel()
	s := newWorld(3).ofEvent(event.VisitReportApproved)[1]
	packed := Pack(s.kind, s.content, s.known...)
	block := codecs()[0].Encode(nil, []byte("{}"))
	for what, stored := range map[string][]byte{
		"a form of the future":       append([]byte{0x07, 0}, block...),
		"the last form":              append([]byte{0x1f, 0}, block...),
		"the next form":              append([]byte{formCoded + 1, 0}, block...),
		"nothing but the form":       {formPacked},
		"cut":                        packed[:len(packed)/2],
		"a dictionary of the future": append([]byte{packed[0], 99}, packed[2:]...),
		"the next dictionary":        append([]byte{packed[0], byte(len(dictionaries))}, packed[2:]...),
	} {
		if got, err := Unpack(stored, s.known...); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%s gave %q, %v", what, got, err)
		}
	}
	if got, err := Unpack(packed); !errors.Is(err, ErrUnreadable) {
		t.Errorf("without what was known it gave %q, %v", got, err)
	}
}

func TestWhatIsTooLongIsLeftAsItIs(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte{'x'}, maxPlain+1)
	if got, err := Unpack(Pack(Body, content)); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes came back as %d, %v", len(content), len(got), err)
	}
}

// TestABombIsRefused packs more zeros than anything stored may have.
func TestABombIsRefused(t *testing.T) {
	t.Parallel()
	bomb := codecs()[0].Encode(nil, make([]byte, maxPlain+1))
	if _, err := Unpack(append([]byte{formPacked, 0}, bomb...)); !errors.Is(err, ErrUnreadable) {
		t.Errorf("got %v", err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	claims := binary.AppendUvarint([]byte{formPacked, 0}, 1<<31) // bytes, and has none
	if _, err := Unpack(claims); !errors.Is(err, ErrUnreadable) {
		t.Errorf("got %v", err)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > 1<<30 {
		t.Errorf("what only claims to be long took %d MiB", (after.TotalAlloc-before.TotalAlloc)>>20)
	}
	// One token can stand for a long text, too.
	tokens := codecs()[0].Encode(nil, bytes.Repeat([]byte{firstToken}, 1<<20))
	if _, err := Unpack(append([]byte{formPacked, 0}, tokens...), strings.Repeat("x", 1<<10)); !errors.Is(err, ErrUnreadable) {
		t.Errorf("got %v", err)
	}
	for _, damaged := range []string{"\xff", "\xff\x02\x01", "\xf9"} { // the last is the next after what is known
		if _, err := restore(nil, []byte(damaged), []string{"tenant-123"}); !errors.Is(err, ErrUnreadable) {
			t.Errorf("%q gave %v", damaged, err)
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	var running sync.WaitGroup
	for seed := range uint64(8) {
		running.Go(func() {
			for _, s := range newWorld(seed).all() {
				if got, err := Unpack(Pack(s.kind, s.content, s.known...), s.known...); err != nil || !bytes.Equal(got, s.content) {
					t.Errorf("%s came back as %s, %v", s.content, got, err)
				}
			}
		})
	}
	running.Wait()
}

// FuzzUnpack reads what nobody wrote: it must not panic, nor take more than its bound.
func FuzzUnpack(f *testing.F) {
	for _, s := range newWorld(4).ofEvent(event.VisitReportApproved) {
		f.Add(Pack(s.kind, s.content, s.known...))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		content, err := Unpack(stored, "tenant-123", "evt_00000000000000000000000001")
		if err == nil && len(content) > maxPlain {
			t.Errorf("%d bytes became %d", len(stored), len(content))
		}
	})
}
