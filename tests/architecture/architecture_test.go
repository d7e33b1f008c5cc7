package architecture_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

// The tree has more than these; a check that sees fewer has looked in the wrong place.
const (
	minPackages = 25
	minFiles    = 100
)

func TestTheHouseIsInOrder(t *testing.T) {
	got, err := check(moduleTree(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.packages < minPackages || got.files < minFiles {
		t.Errorf("only %d packages with %d files were checked", got.packages, got.files)
	}
	for _, breach := range got.breaches {
		t.Error(breach)
	}
}

func moduleTree(t *testing.T) fs.FS {
	t.Helper()
	root := filepath.Join("..", "..")
	goMod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil || !strings.HasPrefix(string(goMod), "module "+module+"\n") {
		t.Fatalf("the module's root is not where it is looked for: %v", err)
	}
	return os.DirFS(root)
}

// TestEveryLayerIsThere keeps a rule from being about a folder that was renamed.
func TestEveryLayerIsThere(t *testing.T) {
	tree := moduleTree(t)
	for _, name := range []string{"domain", "application", "adapters", "ports", "migrations", "tests"} {
		files, err := fs.Glob(tree, name+"/*")
		if _, ruled := layers[name]; err != nil || len(files) == 0 || !ruled {
			t.Errorf("%s: %d entries, under a rule: %t", name, len(files), ruled)
		}
	}
}

// planted is trees of one file; a breach must be refused with a word about it, a legal one not.
var planted = []struct {
	name, path, text string
	refused          string // part of the sentence; empty when nothing is wrong
}{
	{"domain imports another of its packages", "domain/a/a.go", imports(module + "/domain/event"), ""},
	{"domain imports the standard library", "domain/a/a.go", imports("time"), ""},
	{"domain's tests need more", "domain/a/a_test.go", imports("os", "pgregory.net/rapid", module+"/adapters/sqlite"), ""},
	{"domain imports the application", "domain/a/a.go", imports(module + "/application/intake"), "domain must not import"},
	{"domain imports an adapter", "domain/a/a.go", imports(module + "/adapters/sqlite"), "domain must not import"},
	{"domain imports the root", "domain/a/a.go", imports(module), "domain must not import"},
	{"domain imports a library", "domain/a/a.go", imports("github.com/oklog/ulid/v2"), "standard library alone"},
	{"domain imports a sibling module", "domain/a/a.go", imports(module + "extra/domain"), "standard library alone"},
	{"domain imports without a name", "domain/a/a.go", "package a\nimport . \"strings\"", "without its name"},
	{"domain hides an import", "domain/a/a.go", "package a\nimport _ \"os\"", "domain must not import os"},
	{"domain asks the time", "domain/a/a.go", body("time", "var _ = time.Now()"), "time.Now"},
	{"domain keeps the clock", "domain/a/a.go", body("time", "var now = time.Now"), "time.Now"},
	{"domain measures", "domain/a/a.go", body("time", "var _ = time.Since(time.Time{})"), "time.Since"},
	{"domain waits", "domain/a/a.go", body("time", "var _ = time.After(1)"), "time.After"},
	{"domain sleeps", "domain/a/a.go", body("time", "func f() { time.Sleep(1) }"), "time.Sleep"},
	{"domain renames the clock", "domain/a/a.go", "package a\nimport clock \"time\"\nvar _ = clock.Now()", "time.Now"},
	{"domain has a method Now", "domain/a/a.go", body("time", "var s struct{ Now func() time.Time }\nvar _ = s.Now()"), ""},
	{"application imports domain and context", "application/a/a.go", imports(module+"/domain/event", module+"/application/loop", "context"), ""},
	{"application imports an adapter", "application/a/a.go", imports(module + "/adapters/sqlite"), "application must not import"},
	{"application imports a port", "application/a/a.go", imports(module + "/ports/rest"), "application must not import"},
	{"application imports a library", "application/a/a.go", imports("go.opentelemetry.io/otel"), "standard library alone"},
	{"application speaks HTTP", "application/a/a.go", imports("net/http"), "application must not import net/http"},
	{"application asks the time", "application/a/a.go", body("time", "var _ = time.Now()"), "time.Now"},
	{"adapters import what is theirs", "adapters/a/a.go", imports(module+"/application/intake", module+"/migrations", "modernc.org/sqlite"), ""},
	{"adapters import a port", "adapters/a/a.go", imports(module + "/ports/rest"), "adapters must not import"},
	{"adapters need a C compiler", "adapters/a/a.go", imports("C"), "adapters must not import C"},
	{"ports import what is theirs", "ports/a/a.go", imports(module+"/application/intake", module+"/domain/event", "github.com/gofiber/fiber/v2"), ""},
	{"ports import an adapter", "ports/a/a.go", imports(module + "/adapters/sqlite"), "ports must not import"},
	{"ports import migrations", "ports/a/a.go", imports(module + "/migrations"), "ports must not import"},
	{"ports import a test's package", "ports/a/a.go", imports(module + "/tests/flow"), "ports must not import"},
	{"migrations import a library", "migrations/a.go", imports("modernc.org/sqlite"), "standard library alone"},
	{"main wires", "main.go", imports(module+"/adapters/sqlite", module+"/ports/rest"), ""},
	{"tests wire", "tests/a/a.go", imports(module+"/adapters/sqlite", module+"/ports/rest"), ""},
	{"a layer of its own", "services/a/a.go", "package a", "none of the house's layers"},
	{"a package called util", "adapters/util/a.go", "package util", "says nothing"},
	{"a folder that hides one called helpers", "adapters/a/a.go", "package helpers", "says nothing"},
	{"a test of one called common", "adapters/common/a_test.go", "package common_test", "says nothing"},
	{"a file of 500 lines", "adapters/a/a.go", "package a" + strings.Repeat("\n", 500), ""},
	{"a file of 501 lines", "adapters/a/a.go", "package a" + strings.Repeat("\n", 501), "501 lines"},
	{"a function of 50 lines", "adapters/a/a.go", "package a\nfunc f() {" + strings.Repeat("\n", 49) + "}", ""},
	{"a function of 51 lines", "main.go", "package main\nfunc f() {" + strings.Repeat("\n", 50) + "}", "the 51 lines of f"},
	{"a long table in a test", "adapters/a/a_test.go", "package a\nfunc f() {" + strings.Repeat("\n", 90) + "}", ""},
	{"a test that sleeps", "ports/a/a_test.go", body("time", "func f() { time.Sleep(1) }"), "does not sleep"},
	{"an adapter that sleeps", "adapters/a/a.go", body("time", "func f() { time.Sleep(1) }"), ""},
	{"an adapter with an HTTP client of its own", "adapters/a/a.go", body("net/http", "var c = &http.Client{}"), "only adapters/egress calls out"},
	{"a port that dials", "ports/a/a.go", body("net", "var _, _ = net.Dial(\"tcp\", \"x:1\")"), "only adapters/egress calls out"},
	{"main with a transport", "main.go", body("net/http", "var t = http.DefaultTransport"), "only adapters/egress calls out"},
	{"a port that listens", "ports/a/a.go", body("net", "var l net.Listener"), ""},
	{"the guarded client", "adapters/egress/a.go", body("net/http", "var t http.Transport"), ""},
	{"a command that calls the service", "ports/cli/a.go", body("net/http", "var c http.Client"), ""},
	{"a function not explained", "domain/a/a.go", "package a\nfunc F() {}", "F is exported"},
	{"a method not explained", "application/a/a.go", "package a\ntype T[K any] int\nfunc (*T[K]) F() {}", "F is exported"},
	{"a comment that is a directive", "domain/a/a.go", "package a\n//go:noinline\nfunc F() {}", "F is exported"},
	{"a function that is explained", "domain/a/a.go", "package a\n// F is.\nfunc F() {}", ""},
	{"a method that nobody outside can name", "domain/a/a.go", "package a\ntype t int\nfunc (t) F() {}", ""},
	{"an adapter's method", "adapters/a/a.go", "package a\nfunc F() {}", ""},
	{"what the go command leaves out", "domain/a/testdata/a.go", imports("os"), ""},
}

// imports is a file that imports the paths.
func imports(paths ...string) string {
	return "package a\nimport (\n\"" + strings.Join(paths, "\"\n\"") + "\"\n)\n"
}

// body is a file that imports the path and declares something.
func body(path, declarations string) string {
	return "package a\nimport \"" + path + "\"\n" + declarations + "\n"
}

func TestPlantedBreachesAreRefused(t *testing.T) {
	for _, p := range planted {
		t.Run(p.name, func(t *testing.T) {
			got, err := check(fstest.MapFS{p.path: {Data: []byte(p.text)}})
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case p.refused == "" && len(got.breaches) > 0:
				t.Errorf("refused: %v", got.breaches)
			case p.refused != "" && (len(got.breaches) != 1 || !strings.Contains(got.breaches[0], p.refused)):
				t.Errorf("got %q, want one breach about %q", got.breaches, p.refused)
			}
		})
	}
}

// TestEachBannedImportIsRefused goes through the lists, so that none of them is there for show.
func TestEachBannedImportIsRefused(t *testing.T) {
	for name, rule := range layers {
		for _, banned := range rule.banned {
			got, err := check(fstest.MapFS{name + "/a/a.go": {Data: []byte(imports(banned))}})
			if err != nil || len(got.breaches) != 1 {
				t.Errorf("%s imports %s: %v, %v", name, banned, got.breaches, err)
			}
		}
	}
	for _, name := range emptyNames {
		got, err := check(fstest.MapFS{"adapters/a/a.go": {Data: []byte("package " + name)}})
		if err != nil || len(got.breaches) != 1 {
			t.Errorf("a package called %s: %v, %v", name, got.breaches, err)
		}
	}
}

func TestWhatDoesNotParseIsAnError(t *testing.T) {
	if _, err := check(fstest.MapFS{"domain/a/a.go": {Data: []byte("package")}}); err == nil {
		t.Error("a file that does not parse was passed over")
	}
}

func TestNothingIsNotEnough(t *testing.T) {
	got, err := check(fstest.MapFS{})
	if err != nil || got.packages >= minPackages || got.files >= minFiles {
		t.Errorf("an empty tree counts as %+v, %v", got, err)
	}
}
