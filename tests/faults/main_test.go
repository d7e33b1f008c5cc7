// Package faults_test breaks the real binary, its database and its receivers, and looks whether what the service
// promises still holds. The short form is part of the tests; make faults runs all in full and writes docs/reliability.md.
package faults_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/tests/hostile"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

var (
	full   = flag.Bool("full", false, "run each scenario in full")
	report = flag.String("report", "", "note what was run in the table of this file; its other rows stay")
	kills  = flag.Int("kills", 0, "how often to kill at each hop on each database, when the length is not to say")
	length = flag.Float64("length", 1, "how much of the full form to run: 0.1 kills a tenth as often")
)

// atOnce bounds how many scenarios run in parallel: each has processes of its own.
const atOnce = "3"

// binary is the service with the hooks of adapters/faults; scratch is where it and its like are.
var binary, scratch string

func TestMain(m *testing.M) {
	hostile.ServeIfAsked()
	flag.Parse()
	if err := flag.Set("test.parallel", atOnce); err != nil {
		panic(err)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	var err error
	if scratch, err = os.MkdirTemp("", "ordinavo-faults-"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(scratch) }()
	if binary, err = build("service"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// build makes a binary with the hooks; args are go build's.
func build(name string, args ...string) (string, error) {
	path := filepath.Join(scratch, name)
	args = append([]string{"build", "-tags", "faults", "-o", path}, args...)
	if out, err := exec.Command("go", append(args, "github.com/ordinavo/webhooks")...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the service: %w\n%s", err, out)
	}
	return path, nil
}

// inFull is the first number in the short form. In the full one it is the second, as far as it was asked for.
func inFull[T int | time.Duration](short, long T) T {
	if *full {
		return max(short, T(*length*float64(long)))
	}
	return short
}

// calmer is how often something is emitted that is emitted every so often in full: each event is asked for when all is over, which takes
// longer than anything else in the short form.
func calmer(every time.Duration) time.Duration {
	if *full {
		return every
	}
	return 3 * every
}

// database is what a scenario's processes share.
type database struct {
	url, direct string // direct differs behind a proxy or a bouncer
	processes   int
}

// kinds of database that a scenario runs on.
type kind string

const (
	onSQLite     kind = "SQLite"
	onPostgreSQL kind = "PostgreSQL, 3 processes"
)

func fresh(t *testing.T, k kind) database {
	t.Helper()
	if k == onSQLite {
		return database{url: "sqlite:" + filepath.Join(t.TempDir(), "o.db"), processes: 1}
	}
	return database{url: pgtest.Empty(t), processes: 3}
}
