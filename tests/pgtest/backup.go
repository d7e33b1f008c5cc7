package pgtest

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// Dump writes a database to a file, as an operator backs it up while it is in use.
func Dump(t testing.TB, url, file string) {
	t.Helper()
	client(t, "pg_dump", "--format=custom", "--file="+file, "--dbname="+url)
}

// Restore makes a database of what Dump wrote, and returns its URL.
func Restore(t testing.TB, file string) (url string) {
	t.Helper()
	url = Empty(t)
	client(t, "pg_restore", "--exit-on-error", "--dbname="+url, file)
	return url
}

func client(t testing.TB, name string, args ...string) {
	t.Helper()
	binaries, err := findBinaries()
	Check(t, err)
	if out, err := exec.Command(filepath.Join(binaries, name), args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}
