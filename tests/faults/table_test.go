package faults_test

import (
	"slices"
	"testing"
	"time"
)

// scenario is one kind of trouble.
type scenario struct {
	name       string
	does       string
	invariants string // besides those that every scenario is held to
	on         []kind
	clocksMove bool // so that times are no order
	inFull     bool // and not in the short form
	alone      bool // in full, since others would change its figures
	run        func(t *testing.T, k kind) (figures string)
}

var both = []kind{onSQLite, onPostgreSQL}

// TestFaults runs all scenarios but those that kill, of which there are the most.
func TestFaults(t *testing.T) { run(t, otherScenarios) }

func TestKills(t *testing.T) {
	run(t, killScenarios)
	if !*full {
		run(t, []scenario{{name: "kill -9 at each hop", on: both, run: killAtEach}})
	}
}

var otherScenarios = slices.Concat(upgradeScenarios, databaseScenarios, connectionScenarios, edgeScenarios, diskScenarios, processScenarios, sickScenarios, hostileScenarios, overloadScenarios)

func run(t *testing.T, all []scenario) {
	for _, s := range all {
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
					if t.Skipped() {
						return
					}
					if t.Failed() || figures == "" {
						figures = "**FAILED** " + figures
					}
					t.Log(figures)
					if *report != "" {
						note(t, *report, rowOf(s, k, figures, began))
					}
				}()
				figures = s.run(t, k)
			})
		}
	}
}
