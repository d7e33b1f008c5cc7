package faults_test

import (
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// scenario is one kind of trouble.
type scenario struct {
	name       string
	does       string
	invariants string // besides those that every scenario is held to
	on         []kind
	inFull     bool // and not in the short form
	alone      bool // in full, since others would change its figures
	run        func(t *testing.T, k kind) (figures string)
}

// always is what check asks of every scenario.
const always = "I1 to I4, I7 to I10"

var both = []kind{onSQLite, onPostgreSQL}

// TestFaults runs all scenarios but those that kill, of which there are the most.
func TestFaults(t *testing.T) {
	run(t, len(killScenarios), slices.Concat(upgradeScenarios, databaseScenarios, connectionScenarios, diskScenarios, processScenarios, sickScenarios, overloadScenarios))
}

func TestKills(t *testing.T) { run(t, 0, killScenarios) }

// run runs scenarios whose places in the table begin with first.
func run(t *testing.T, first int, all []scenario) {
	for i, s := range all {
		if s.inFull && !*full {
			continue
		}
		for _, k := range s.on {
			t.Run(s.name+"/"+string(k), func(t *testing.T) {
				if !s.alone || !*full {
					t.Parallel()
				}
				began, figures := time.Now(), ""
				defer func() {
					if t.Failed() {
						figures = "**FAILED** " + figures
					}
					if figures != "" {
						theTable.add(first+i, s, k, figures, time.Since(began))
						t.Log(figures)
					}
				}()
				figures = s.run(t, k)
			})
		}
	}
}

// table is what was run, in the order of the scenarios.
type table struct {
	mu    sync.Mutex
	rows  map[string]string
	kills map[kind]int
	lost  map[kind]int
}

var theTable = &table{rows: map[string]string{}, kills: map[kind]int{}, lost: map[kind]int{}}

// count adds kills up that a scenario is about.
func (b *table) count(k kind, kills int, f findings) (figures string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.kills[k] += kills
	b.lost[k] += f.lost
	return fmt.Sprintf("%d kills: %s", kills, f)
}

func (b *table) add(i int, s scenario, k kind, figures string, took time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	invariants := always
	if s.invariants != "" {
		invariants += ", " + s.invariants
	}
	b.rows[fmt.Sprintf("%03d %s", i, k)] = fmt.Sprintf("| %s | %s | %s | %s | %s | %.0f s |\n", s.name, k, s.does, invariants, figures, took.Seconds())
	if *report == "" {
		return
	}
	if err := os.WriteFile(*report, []byte(b.text()), 0o644); err != nil {
		panic(err)
	}
}

const tableHead = `# Reliability

What was done to the service, and what came of it. ` + "`make faults`" + ` runs all of it and writes this page (` + "`FAULTS_LENGTH=0.1`" + ` a tenth of it); ` + "`make test`" + ` runs a short form.
Each scenario drives the real binary over HTTP, with PostgreSQL on three processes, and then asks the API about every event and
compares with what the receivers got. One that breaks an invariant says FAILED.

%s

| | invariant |
| --- | --- |
| I1 | each acknowledged event reaches a terminal state for each matching subscription |
| I2 | nothing is sent that the log does not know |
| I3 | a stale lease never writes |
| I4 | duplicates only where a fault overlapped an attempt, with the same ids and bytes |
| I5 | attempts happen at or after their due time |
| I6 | other endpoints' latency holds |
| I7 | memory, goroutines and connections stay bounded |
| I8 | what the API shows is the fold of the log |
| I9 | nothing crosses tenants |
| I10 | dispositions sum up |

| scenario | on | what it does | invariants | figures | took |
| --- | --- | --- | --- | --- | --- |
`

// text is for who holds the lock.
func (b *table) text() string {
	var text strings.Builder
	_, _ = fmt.Fprintf(&text, tableHead, b.ran())
	for _, key := range slices.Sorted(maps.Keys(b.rows)) {
		text.WriteString(b.rows[key])
	}
	return text.String()
}

// ran says what this run was.
func (b *table) ran() string {
	form := "The short form"
	if *full {
		form = fmt.Sprintf("%g of the full form", *length)
	}
	text := fmt.Sprintf("%s, on %d cores with %s, in %.0f minutes.", form, runtime.NumCPU(), runtime.Version(), time.Since(began).Minutes())
	for _, k := range both {
		text += fmt.Sprintf(" %s: %d kills, %d acknowledged events lost.", k, b.kills[k], b.lost[k])
	}
	return text
}

var began = time.Now()
