package architecture_test

import (
	"go/ast"
	"slices"
	"strings"
)

// rules is all of them; each gets every file and says what is wrong with it.
var rules = []func(source) []string{
	layerIsKnown, importsFollowTheLayers, innerLayersAreGivenTheTime, testsDoNotSleep,
	packageNameSaysSomething, fileIsReadable, functionFitsOnAScreen, exportedFunctionsAreExplained, oneDoorLeadsOutside,
}

// layer says what the files of a top-level folder, tests aside, may import:
// folders of the module, the standard library but for what is banned, and others' modules.
type layer struct {
	may        []string
	banned     []string
	thirdParty bool
}

// outside is what reaches outside the process, or makes chance; the inner layers are given it.
var outside = []string{
	"os", "os/exec", "os/signal", "net", "net/http", "database/sql", "io/fs", "log", "log/slog",
	"math/rand", "math/rand/v2", "crypto/rand", "syscall", "unsafe", "C",
}

// layers by folder; the empty one is main, which wires everything.
var layers = map[string]layer{
	"":            {may: []string{"domain", "application", "adapters", "ports", "migrations"}, thirdParty: true},
	"domain":      {may: []string{"domain"}, banned: append(outside, "context")},
	"application": {may: []string{"domain", "application"}, banned: outside},
	"adapters":    {may: []string{"domain", "application", "adapters", "migrations"}, banned: []string{"C"}, thirdParty: true},
	"ports":       {may: []string{"domain", "application", "ports"}, banned: []string{"C", "database/sql"}, thirdParty: true},
	"migrations":  {banned: []string{"C"}},
	"tests":       {may: []string{"domain", "application", "adapters", "ports", "migrations", "tests"}, thirdParty: true},
}

func layerIsKnown(s source) []string {
	if _, known := layers[s.layer]; !known {
		return []string{s.breach(s.file.Package, "%s is none of the house's layers", s.layer)}
	}
	return nil
}

// importsFollowTheLayers is the dependency rule. Tests may use what they need.
func importsFollowTheLayers(s source) (breaches []string) {
	if s.isTest() {
		return nil
	}
	rule := layers[s.layer]
	s.imports(func(spec *ast.ImportSpec, imported, name string) {
		switch inside, ours := strings.CutPrefix(imported+"/", module+"/"); {
		case name == ".":
			breaches = append(breaches, s.breach(spec.Pos(), "%s is imported without its name", imported))
		case ours:
			if top, _, _ := strings.Cut(inside, "/"); !slices.Contains(rule.may, top) {
				breaches = append(breaches, s.breach(spec.Pos(), "%s must not import %s", s.layer, imported))
			}
		case slices.Contains(rule.banned, imported):
			breaches = append(breaches, s.breach(spec.Pos(), "%s must not import %s", s.layer, imported))
		case isThirdParty(imported) && !rule.thirdParty:
			breaches = append(breaches, s.breach(spec.Pos(), "%s imports the standard library alone, not %s", s.layer, imported))
		}
	})
	return breaches
}

// isThirdParty goes by the dot that a module's host has and the standard library has not.
func isThirdParty(imported string) bool {
	host, _, _ := strings.Cut(imported, "/")
	return strings.Contains(host, ".")
}

func innerLayersAreGivenTheTime(s source) (breaches []string) {
	if s.layer != "domain" && s.layer != "application" || s.isTest() {
		return nil
	}
	clock := []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"}
	for _, use := range s.uses("time", clock...) {
		breaches = append(breaches, s.breach(use.Pos(), "%s is given the time, and does not ask time.%s", s.layer, use.Sel.Name))
	}
	return breaches
}

func testsDoNotSleep(s source) (breaches []string) {
	if !s.isTest() {
		return nil
	}
	for _, use := range s.uses("time", "Sleep") {
		breaches = append(breaches, s.breach(use.Pos(), "a test waits for what happens, and does not sleep"))
	}
	return breaches
}

// callers are what opens a connection to an address of somebody's choice.
var callers = map[string][]string{
	"net":        {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "Dialer"},
	"net/http":   {"Client", "DefaultClient", "Transport", "DefaultTransport", "Get", "Head", "Post", "PostForm"},
	"crypto/tls": {"Dial", "DialWithDialer", "Dialer"},
}

// oneDoorLeadsOutside keeps every path on which the service sends to a tenant's URL behind the guard of adapters/egress.
// The command line calls the operator's own service.
func oneDoorLeadsOutside(s source) (breaches []string) {
	if s.isTest() || s.layer == "tests" || s.folder() == "adapters/egress" || strings.HasPrefix(s.path, "ports/cli/") {
		return nil
	}
	for of, functions := range callers {
		for _, use := range s.uses(of, functions...) {
			breaches = append(breaches, s.breach(use.Pos(), "only adapters/egress calls out, %s.%s does too", of, use.Sel.Name))
		}
	}
	return breaches
}

// emptyNames say where code was put, and not what it does.
var emptyNames = []string{
	"util", "utils", "common", "helper", "helpers", "model", "models", "types", "misc", "shared", "base", "core", "lib",
}

func packageNameSaysSomething(s source) []string {
	name := strings.TrimSuffix(s.file.Name.Name, "_test")
	if slices.Contains(emptyNames, name) {
		return []string{s.breach(s.file.Name.Pos(), "the package's name %s says nothing", name)}
	}
	return nil
}

// A function that runs in the service fits on a screen. Tables, in tests, may be longer.
const (
	maxLines         = 500
	maxFunctionLines = 50
)

func fileIsReadable(s source) []string {
	if lines := strings.Count(s.text, "\n"); lines > maxLines {
		return []string{s.breach(s.file.Package, "%d lines are more than %d", lines, maxLines)}
	}
	return nil
}

func functionFitsOnAScreen(s source) (breaches []string) {
	if s.layer == "tests" || s.isTest() || s.folder() == "adapters/storetest" {
		return nil
	}
	for _, declaration := range s.file.Decls {
		f, ok := declaration.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if lines := s.set.Position(f.End()).Line - s.set.Position(f.Pos()).Line + 1; lines > maxFunctionLines {
			breaches = append(breaches, s.breach(f.Pos(), "the %d lines of %s are more than %d", lines, f.Name.Name, maxFunctionLines))
		}
	}
	return breaches
}

// exportedFunctionsAreExplained asks for a comment on what other packages of the inner layers call.
func exportedFunctionsAreExplained(s source) (breaches []string) {
	if s.layer != "domain" && s.layer != "application" || s.isTest() {
		return nil
	}
	for _, declaration := range s.file.Decls {
		f, ok := declaration.(*ast.FuncDecl)
		if ok && f.Name.IsExported() && isCallable(f) && f.Doc.Text() == "" {
			breaches = append(breaches, s.breach(f.Pos(), "%s is exported and not explained", f.Name.Name))
		}
	}
	return breaches
}

// isCallable reports whether the function has no receiver, or one whose type is exported.
func isCallable(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return true
	}
	receiver := f.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.IndexListExpr:
			receiver = r.X
		case *ast.Ident:
			return r.IsExported()
		default:
			return true
		}
	}
}
