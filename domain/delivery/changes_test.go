package delivery_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

var update = flag.Bool("update", false, "write the golden files anew")

// examples is every change with every field filled, by the name of its Go type.
func examples() map[string]delivery.Change {
	o := delivery.Outcome{
		Kind: delivery.KindHTTPStatus, StartedAt: at(time.Second), Duration: 250 * time.Millisecond,
		RequestHeaders: map[string]string{"X-Ordinavo-Event-Id": "evt_1"}, Status: 503,
		ResponseHeaders: map[string]string{"Retry-After": "120"}, ResponseBody: []byte("try later \x00\xff"),
		Error: "the receiver answered 503", RetryAfter: 2 * time.Minute, TraceID: "4bf92f3577b34da6a3ce929d0e0e4736",
	}
	all := []delivery.Change{
		scheduled(),
		delivery.AttemptSucceeded{At: at(time.Minute), Attempt: attempt(2, o)},
		delivery.AttemptFailed{At: at(time.Minute), Attempt: attempt(2, o), NextAt: at(time.Hour)},
		delivery.AttemptAbandoned{At: at(time.Minute), Number: 2, StartedAt: at(time.Second), NextAt: at(time.Hour)},
		delivery.Parked{At: start, Reason: "the subscription is paused"},
		delivery.Released{At: start},
		delivery.DeadLettered{At: start, Reason: delivery.ReasonExhausted},
		delivery.RetryRequested{At: start},
		delivery.Cancelled{At: start, Reason: "the subscription was deleted"},
	}
	named := map[string]delivery.Change{}
	for _, c := range all {
		named[reflect.TypeOf(c).Name()] = c
	}
	return named
}

// TestExamplesCoverTheClosedSet reads the source, so that a new change cannot be forgotten here,
// and with that not in Encode and Decode either.
func TestExamplesCoverTheClosedSet(t *testing.T) {
	declared := declaredChanges(t)
	if len(declared) == 0 {
		t.Fatal("no change was found in the source")
	}
	for _, name := range declared {
		if examples()[name] == nil {
			t.Errorf("%s has no example", name)
		}
	}
	if len(declared) != len(examples()) {
		t.Errorf("the source declares %d changes, there are %d examples", len(declared), len(examples()))
	}
}

// declaredChanges is the receivers of the package's change methods.
func declaredChanges(t *testing.T) (names []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			if f, ok := declaration.(*ast.FuncDecl); ok && f.Name.Name == "change" && f.Recv != nil {
				names = append(names, f.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	return names
}

func TestExamplesLeaveNothingOut(t *testing.T) {
	for name, c := range examples() {
		for _, path := range zeroFields(reflect.ValueOf(c), name) {
			t.Errorf("%s is zero in the example", path)
		}
	}
}

// zeroFields is the paths of the fields, at any depth, that hold nothing.
func zeroFields(v reflect.Value, path string) (found []string) {
	if v.IsZero() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
		return []string{path}
	}
	if v.Kind() != reflect.Struct || v.Type() == reflect.TypeFor[time.Time]() {
		return nil
	}
	for i := range v.NumField() {
		found = append(found, zeroFields(v.Field(i), path+"."+v.Type().Field(i).Name)...)
	}
	return found
}

func goldenPath(storedName string) string {
	return filepath.Join("testdata", "changes", storedName+".golden.json")
}

// TestStoredForms holds every change against the bytes that streams hold of it.
func TestStoredForms(t *testing.T) {
	seen := map[string]bool{}
	for goName, c := range examples() {
		name, data, err := delivery.Encode(c)
		if err != nil {
			t.Errorf("encode %s: %v", goName, err)
			continue
		}
		if seen[name] || !strings.HasPrefix(name, "delivery.") || !strings.HasSuffix(name, ".v1") {
			t.Errorf("%s is stored as %q, which is taken or not of the form", goName, name)
		}
		seen[name] = true
		checkGolden(t, name, data)
	}
}

func checkGolden(t *testing.T, name string, data []byte) {
	t.Helper()
	var indented bytes.Buffer
	if err := json.Indent(&indented, data, "", "  "); err != nil {
		t.Fatal(err)
	}
	indented.WriteByte('\n')
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(goldenPath(name)), 0o755), os.WriteFile(goldenPath(name), indented.Bytes(), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(goldenPath(name))
	if err != nil {
		t.Error(err)
	} else if !bytes.Equal(indented.Bytes(), want) {
		t.Errorf("%s is stored in another form than before; give the new form a new version\ngot  %s\nwant %s", name, indented.Bytes(), want)
	}
}

// TestWhatIsStoredDecodes goes through the files, so that a form that is no longer written is still read.
func TestWhatIsStoredDecodes(t *testing.T) {
	files, err := filepath.Glob(goldenPath("*"))
	if err != nil || len(files) < len(examples()) {
		t.Fatalf("there are %d golden files (%v), want at least %d", len(files), err, len(examples()))
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".golden.json")
		got, err := delivery.Decode(name, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if want := examples()[reflect.TypeOf(got).Name()]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s decodes to\n%+v, want\n%+v", name, got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ stored, data string }{
		"an unknown name":        {"delivery.forgotten.v1", "{}"},
		"no name":                {"", "{}"},
		"a version not known":    {"delivery.parked.v2", "{}"},
		"no JSON":                {"delivery.parked.v1", "{"},
		"a value of other types": {"delivery.parked.v1", `{"reason": 1}`},
	} {
		if got, err := delivery.Decode(c.stored, []byte(c.data)); err == nil {
			t.Errorf("%s decodes to %+v", name, got)
		}
	}
	if name, _, err := delivery.Encode(nil); err == nil {
		t.Errorf("nothing is stored as %q", name)
	}
}

// TestKindsAreComplete reads the source: Kinds must list every constant of the type.
func TestKindsAreComplete(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "outcome.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var declared []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if of, ok := spec.Type.(*ast.Ident); ok && of.Name == "Kind" {
				declared = append(declared, strings.Trim(spec.Values[0].(*ast.BasicLit).Value, `"`))
			}
		}
		return true
	})
	var listed []string
	for _, kind := range delivery.Kinds() {
		listed = append(listed, string(kind))
	}
	if len(declared) == 0 || !slices.Equal(declared, listed) {
		t.Errorf("declared %v, listed %v", declared, listed)
	}
}
