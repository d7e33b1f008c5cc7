// Package architecture_test holds the source against the layout of the house: who may import
// whom, what the domain must not touch, and what keeps files readable. It reads the source alone,
// so that it says what is wrong even when the tree does not compile.
package architecture_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

const module = "github.com/ordinavo/webhooks"

// source is one parsed file.
type source struct {
	path  string // from the module's root
	text  string
	file  *ast.File
	set   *token.FileSet
	layer string // the first folder; empty for the composition root
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) folder() string { return path.Dir(s.path) }

// breach is a sentence about what is wrong, beginning with the place.
func (s source) breach(at token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", s.path, s.set.Position(at).Line, fmt.Sprintf(format, args...))
}

// report is what a check found, and how much it looked at.
type report struct {
	breaches []string
	packages int
	files    int
}

// check holds every Go file of the tree against every rule. It fails on a file that does not parse.
func check(tree fs.FS) (report, error) {
	sources, err := parseAll(tree)
	if err != nil {
		return report{}, err
	}
	r := report{files: len(sources)}
	folders := map[string]bool{}
	for _, s := range sources {
		folders[s.folder()] = true
		for _, rule := range rules {
			r.breaches = append(r.breaches, rule(s)...)
		}
	}
	r.packages = len(folders)
	return r, nil
}

func parseAll(tree fs.FS) (sources []source, err error) {
	err = fs.WalkDir(tree, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipped(entry.Name())
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return err
		}
		s := source{path: name, text: string(text), set: token.NewFileSet()}
		if layer, _, nested := strings.Cut(name, "/"); nested {
			s.layer = layer
		}
		s.file, err = parser.ParseFile(s.set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		sources = append(sources, s)
		return err
	})
	return sources, err
}

// skipped leaves out the folders that the go command leaves out as well.
func skipped(folder string) error {
	if folder == "testdata" || folder == "vendor" || len(folder) > 1 && (folder[0] == '.' || folder[0] == '_') {
		return fs.SkipDir
	}
	return nil
}

// imports calls visit with the path and the local name of each import.
func (s source) imports(visit func(spec *ast.ImportSpec, imported, name string)) {
	for _, spec := range s.file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue // the parser refuses it before
		}
		name := path.Base(imported)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		visit(spec, imported, name)
	}
}

// uses lists the places where one of a package's functions is named, called or not.
func (s source) uses(of string, functions ...string) (found []*ast.SelectorExpr) {
	local := ""
	s.imports(func(_ *ast.ImportSpec, imported, name string) {
		if imported == of {
			local = name
		}
	})
	if local == "" {
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if selector, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := selector.X.(*ast.Ident); ok && x.Name == local && slices.Contains(functions, selector.Sel.Name) {
				found = append(found, selector)
			}
		}
		return true
	})
	return found
}
