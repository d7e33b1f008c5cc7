// Package e2e_test drives the real binary as a process, over real HTTP, from the API to the receiver.
package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// atOnce bounds how many tests run in parallel: each may have processes of its own.
const atOnce = "4"

// race is what the Makefile says: SQLite, which is C translated to Go, is left out.
var race = []string{"-race", "-gcflags=modernc.org/sqlite/lib=-race=false", "-gcflags=modernc.org/libc/...=-race=false"}

// binary is the service, built once, with the race detector where there is a C compiler; scratch is for data of shared things.
var (
	binary, scratch string
	raced           bool
)

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "ordinavo-e2e-"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	binary = filepath.Join(scratch, "ordinavo-webhooks")
	args := []string{"build", "-o", binary}
	if cgo, err := exec.Command("go", "env", "CGO_ENABLED").Output(); err == nil && strings.TrimSpace(string(cgo)) == "1" {
		args, raced = append(args, race...), true // which needs a C compiler
	}
	build := exec.Command("go", append(args, "github.com/ordinavo/webhooks")...)
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the service: %v\n%s", err, out)
		return 1
	}
	code := max(m.Run(), endShared())
	if whole := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.skip").Value.String() == ""; code == 0 && whole {
		if missing := theDocument.unanswered(); len(missing) > 0 {
			fmt.Fprintln(os.Stderr, "no test has seen these operations succeed:", missing)
			return 1
		}
	}
	return code
}

// shared is a service for tests that need no process of their own; each has tenants of its own there.
var shared struct {
	once    sync.Once
	service *service
	err     error
}

func sharedService(t *testing.T) *service {
	t.Helper()
	shared.once.Do(func() { shared.service, shared.err = launch(filepath.Join(scratch, "shared")) })
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.service
}

func endShared() int {
	if shared.service == nil {
		return 0
	}
	if err := shared.service.stop(); err != nil {
		fmt.Fprintln(os.Stderr, "the shared service:", err)
		return 1
	}
	return 0
}
