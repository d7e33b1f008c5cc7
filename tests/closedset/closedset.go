// Package closedset holds the changes of an aggregate to what streams need of them: the set is closed, and each has one stored
// form, which stays as it is and is read for ever.
package closedset

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
)

var update = flag.Bool("update", false, "write the golden files anew")

// Changes is those of the aggregate whose package is tested.
type Changes[C any] struct {
	Aggregate string // what the stored names begin with
	// Examples is every change with every field filled, by the name of its Go type.
	Examples map[string]C
	Encode   func(C) (name string, data []byte, err error)
	Decode   func(name string, data []byte) (C, error)
	// Reasoned is the stored name, but for its version, of a change with a reason.
	Reasoned string
}

// Named is the changes by the names of their Go types.
func Named[C any](all ...C) map[string]C {
	named := map[string]C{}
	for _, c := range all {
		named[reflect.TypeOf(c).Name()] = c
	}
	return named
}

// Test runs the whole contract.
func (s Changes[C]) Test(t *testing.T) {
	t.Run("the examples cover the closed set", s.covers)
	t.Run("the examples leave nothing out", s.leavesNothingOut)
	t.Run("the stored forms stay", s.keepsItsForms)
	t.Run("what is stored decodes", s.decodes)
	t.Run("what is not of the set is refused", s.refuses)
}

// covers reads the source, so that a new change cannot be forgotten in the examples, and with that not in Encode and
// Decode either.
func (s Changes[C]) covers(t *testing.T) {
	declared := declaredChanges(t)
	if len(declared) == 0 {
		t.Fatal("no change was found in the source")
	}
	for _, name := range declared {
		if _, there := s.Examples[name]; !there {
			t.Errorf("%s has no example", name)
		}
	}
	if len(declared) != len(s.Examples) {
		t.Errorf("the source declares %d changes, there are %d examples", len(declared), len(s.Examples))
	}
}

// declaredChanges is the receivers of the tested package's change methods.
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

func (s Changes[C]) leavesNothingOut(t *testing.T) {
	for name, c := range s.Examples {
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

// keepsItsForms holds every change against the bytes that streams hold of it.
func (s Changes[C]) keepsItsForms(t *testing.T) {
	seen := map[string]bool{}
	for goName, c := range s.Examples {
		name, data, err := s.Encode(c)
		if err != nil {
			t.Errorf("encode %s: %v", goName, err)
			continue
		}
		if seen[name] || !strings.HasPrefix(name, s.Aggregate+".") || !strings.HasSuffix(name, ".v1") {
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

// decodes goes through the files, so that a form that is no longer written is still read.
func (s Changes[C]) decodes(t *testing.T) {
	files, err := filepath.Glob(goldenPath("*"))
	if err != nil || len(files) < len(s.Examples) {
		t.Fatalf("there are %d golden files (%v), want at least %d", len(files), err, len(s.Examples))
	}
	for _, path := range files {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(path), ".golden.json")
		got, err := s.Decode(name, data)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if want := s.Examples[reflect.TypeOf(got).Name()]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s decodes to\n%+v, want\n%+v", name, got, want)
		}
	}
}

func (s Changes[C]) refuses(t *testing.T) {
	for name, c := range map[string]struct{ stored, data string }{
		"an unknown name":        {s.Aggregate + ".forgotten.v1", "{}"},
		"no name":                {"", "{}"},
		"a version not known":    {s.Reasoned + ".v2", "{}"},
		"no JSON":                {s.Reasoned + ".v1", "{"},
		"a value of other types": {s.Reasoned + ".v1", `{"reason": 1}`},
	} {
		if got, err := s.Decode(c.stored, []byte(c.data)); err == nil {
			t.Errorf("%s decodes to %+v", name, got)
		}
	}
	var none C
	if name, _, err := s.Encode(none); err == nil {
		t.Errorf("nothing is stored as %q", name)
	}
}
