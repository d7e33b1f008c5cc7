package architecture_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Each module that is required directly has a line in the README that says why; a line stands for what lies below its path, too.
func TestEachDirectDependencyHasItsReason(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join("..", "..", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	_, builtOn, _ := strings.Cut(read("README.md"), "## Built on")
	var named []string
	for _, row := range regexp.MustCompile(`(?m)^\| (.+?) \|`).FindAllStringSubmatch(builtOn, -1) {
		for module := range strings.SplitSeq(row[1], ", ") {
			named = append(named, strings.Fields(module)[0])
		}
	}
	required, _, _ := strings.Cut(read("go.mod"), "\n)")
	modules := regexp.MustCompile(`(?m)^\t(?:github\.com/)?(\S+) v`).FindAllStringSubmatch(required, -1)
	if len(modules) == 0 {
		t.Error("checked nothing: go.mod requires no module")
	}
	for _, m := range modules {
		if !slices.ContainsFunc(named, func(name string) bool { return m[1] == name || strings.HasPrefix(m[1], name+"/") }) {
			t.Errorf("%s is in go.mod, and the README does not say why", m[1])
		}
	}
}
