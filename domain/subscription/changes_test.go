package subscription_test

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
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/subscription"
)

var rewrite = flag.Bool("update", false, "write the golden files anew")

// examples is every change with every field filled, by the name of its Go type.
func examples() map[string]subscription.Change {
	to := settings()
	all := []subscription.Change{
		subscription.Created{At: start, ID: "sub_1", Tenant: "tenant-123", Settings: to, SecretID: "sec_1"},
		subscription.EndpointChanged{At: start, Name: to.Name, URL: to.URL, Timeout: to.Timeout,
			MaxInFlight: to.MaxInFlight, RetrySchedule: to.RetrySchedule},
		subscription.FilterChanged{At: start, EventTypes: to.EventTypes},
		subscription.OptionsChanged{At: start, SourceSystem: to.SourceSystem, Options: to.Options},
		subscription.SecretRotationStarted{At: start, SecretID: "sec_2", OverlapEnd: at(24 * time.Hour)},
		subscription.SecretRotationCompleted{At: start},
		subscription.Paused{At: start, Reason: "maintenance"},
		subscription.Resumed{At: start, SkipParked: true},
		subscription.Disabled{At: start, Reason: subscription.ReasonGone},
		subscription.Deleted{At: start},
	}
	named := map[string]subscription.Change{}
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
		name, data, err := subscription.Encode(c)
		if err != nil {
			t.Errorf("encode %s: %v", goName, err)
			continue
		}
		if seen[name] || !strings.HasPrefix(name, "subscription.") || !strings.HasSuffix(name, ".v1") {
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
	if *rewrite {
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
		got, err := subscription.Decode(name, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if want := examples()[reflect.TypeOf(got).Name()]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s decodes to\n%+v, want\n%+v", name, got, want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, c := range map[string]struct{ stored, data string }{
		"an unknown name":        {"subscription.forgotten.v1", "{}"},
		"no name":                {"", "{}"},
		"a version not known":    {"subscription.paused.v2", "{}"},
		"no JSON":                {"subscription.paused.v1", "{"},
		"a value of other types": {"subscription.paused.v1", `{"reason": 1}`},
	} {
		if got, err := subscription.Decode(c.stored, []byte(c.data)); err == nil {
			t.Errorf("%s decodes to %+v", name, got)
		}
	}
	if name, _, err := subscription.Encode(nil); err == nil {
		t.Errorf("nothing is stored as %q", name)
	}
}
