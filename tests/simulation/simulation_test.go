package simulation_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/tests/simulation"
)

// defaultRuns takes some seconds.
const defaultRuns = 300

// TestSimulation runs seeds: SIMULATION_RUNS of them, or as many as SIMULATION_TIME allows, beginning with
// SIMULATION_SEED. With SIMULATION_SEED alone it runs that one, and tells it; SIMULATION_ONLY makes it smaller.
func TestSimulation(t *testing.T) {
	first, one := seedOf(t)
	switch {
	case os.Getenv("SIMULATION_TIME") != "":
		length, err := time.ParseDuration(os.Getenv("SIMULATION_TIME"))
		if err != nil {
			t.Fatalf("SIMULATION_TIME: %v", err)
		}
		if !one {
			first = uint64(time.Now().UnixMilli()) << 20 // others each time
		}
		runFor(t, first, length)
	case os.Getenv("SIMULATION_RUNS") != "":
		runs, err := strconv.ParseUint(os.Getenv("SIMULATION_RUNS"), 10, 64)
		if err != nil {
			t.Fatalf("SIMULATION_RUNS: %v", err)
		}
		runAll(t, first, runs)
	case one:
		replay(t, first)
	default:
		runAll(t, 0, defaultRuns)
	}
}

func seedOf(t *testing.T) (seed uint64, set bool) {
	text := os.Getenv("SIMULATION_SEED")
	if text == "" {
		return 0, false
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("SIMULATION_SEED: %v", err)
	}
	return seed, true
}

func runAll(t *testing.T, first, runs uint64) {
	run(t, first, func(done uint64) bool { return done < runs })
}

func runFor(t *testing.T, first uint64, length time.Duration) {
	began := time.Now()
	run(t, first, func(uint64) bool { return time.Since(began) < length })
}

// run takes one seed after the other on all cores, as long as there is to be one more and all have held. It tells how
// far it has come, now and then.
func run(t *testing.T, first uint64, more func(done uint64) bool) {
	var total simulation.Counts
	var workers sync.WaitGroup
	var mu sync.Mutex
	began, told, taken, held := time.Now(), time.Now(), uint64(0), 0
	next := func() (seed uint64, ok bool) {
		mu.Lock()
		defer mu.Unlock()
		seed, ok = first+taken, more(taken) && !t.Failed()
		taken++
		return seed, ok
	}
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for seed, ok := next(); ok; seed, ok = next() {
				counts := hold(t, seed)
				mu.Lock()
				total.Add(counts)
				held++
				if time.Since(told) > 10*time.Second {
					told = time.Now()
					fmt.Printf("%8s  %d seeds from %d: %s\n", time.Since(began).Round(time.Second), held, first, total)
				}
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	t.Logf("%d seeds from %d in %s: %s", held, first, time.Since(began).Round(time.Second), total)
	if held >= defaultRuns {
		requireTrouble(t, total, held)
	}
}

// hold runs a seed. One that does not hold is made smaller, and told with the command that repeats it.
func hold(t *testing.T, seed uint64) simulation.Counts {
	r := simulation.Run(simulation.Seeded(seed))
	if r.Violation == nil {
		return r.Counts
	}
	small, shrunk := simulation.Shrink(simulation.Seeded(seed))
	small.Log = true
	shrunk = simulation.Run(small)
	t.Errorf("seed %d: %s\nagain:   SIMULATION_SEED=%d go test ./tests/simulation -run '^TestSimulation$' -v\nsmaller: SIMULATION_SEED=%d SIMULATION_ONLY=%s go test ./tests/simulation -run '^TestSimulation$' -v\n%s\n%s",
		seed, r.Violation, seed, seed, small, shrunk.Violation, strings.Join(shrunk.Lines, "\n"))
	return r.Counts
}

func replay(t *testing.T, seed uint64) {
	o, err := simulation.Seeded(seed).Parse(os.Getenv("SIMULATION_ONLY"))
	if err != nil {
		t.Fatalf("SIMULATION_ONLY: %v", err)
	}
	o.Log = true
	r := simulation.Run(o)
	t.Logf("%s\n%s, trace %x", strings.Join(r.Lines, "\n"), r.Counts, r.Trace)
	if r.Violation != nil {
		t.Error(r.Violation)
	}
}

// TestTheSameSeedIsTheSameRun would see the order of a map, the real time, or a goroutine come in.
func TestTheSameSeedIsTheSameRun(t *testing.T) {
	t.Parallel()
	traces := map[uint64]bool{}
	for seed := range uint64(40) {
		o := simulation.Seeded(seed)
		first := simulation.Run(o)
		o.Log = seed%2 == 0
		again := simulation.Run(o)
		if first.Trace != again.Trace || first.Counts != again.Counts {
			t.Errorf("seed %d: trace %x with %s, then %x with %s", seed, first.Trace, first.Counts, again.Trace, again.Counts)
		}
		traces[first.Trace] = true
	}
	if len(traces) != 40 {
		t.Errorf("40 seeds gave %d runs", len(traces))
	}
}

// requireTrouble keeps the simulation from holding because nothing happens in it.
func requireTrouble(t *testing.T, total simulation.Counts, seeds int) {
	for what, n := range map[string]int{"kills": total.Kills, "attempts that were not recorded": total.Unrecorded, "stale outcomes": total.Stale,
		"attempts": total.Attempts / 10, "events set aside": total.SetAside, "deliveries resent by jobs": total.Resent, "rebuilds": total.Rebuilt,
		"deliveries rendered anew": total.Rerendered, "ends of rotations announced": total.Announced, "deliveries put back": total.PutBack,
		"times no room": total.NoRoom, "faults": total.Faults / 10, "deliveries": total.Deliveries / 10, "pauses": total.Pauses, "skips": 5 * total.Skips,
		"deliveries released": total.Released, "events gated": total.Gated, "receivers gone": total.Gone, "events purged": total.PurgedEvents,
		"deliveries purged": total.PurgedDeliveries, "events pulled": total.Pulled, "changes told": total.Told, "changes replayed": total.Replayed,
		"dead letters announced": total.GivenUp, "failing receivers announced": total.Failing, "orders carried out": total.Ordered,
		"orders answered again": total.Repeated, "requests beyond a quota": total.Refused, "requests without room": total.NoSpace,
		"transactions run again": total.Collided, "missing deliveries begun": 5 * total.Missing, "subscriptions edited": total.Edited, "edits refused": total.Unmet, "deliveries foretold by dry runs": total.Audited} {
		if n < 100*seeds/defaultRuns {
			t.Errorf("%s: %d, which is hardly any (%s)", what, n, total)
		}
	}
}
