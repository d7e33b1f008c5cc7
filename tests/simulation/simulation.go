// Package simulation runs several processes of the service in one goroutine, on a simulated clock, store and
// network. A seed decides which step of which process comes next, what fails, who is paused or killed, what
// receivers answer, and what users do. Then the faults stop, and everything must come to rest. The code that
// runs is the application's own; only what surrounds it is simulated.
package simulation

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// Result is what one run came to.
type Result struct {
	Violation *Violation // nil when everything held
	// Trace is a digest of every step, fault and exchange: the same seed gives the same one.
	Trace uint64
	// Lines tell the run, when Options.Log asks for them.
	Lines  []string
	Counts Counts
}

// Counts says how much happened.
type Counts struct {
	Steps, Calls, Faults, Events, Deliveries, Attempts, Unrecorded, Stale, SetAside, Resent, Kills, Rebuilt, Announced, Rerendered, PutBack, NoRoom                                                        int
	Pauses, Skips, Released, Gated, Gone, PurgedEvents, PurgedDeliveries, Pulled, Told, Replayed, GivenUp, Failing, Ordered, Repeated, Refused, NoSpace, Knocks, Collided, Missing, Edited, Unmet, Audited int
	Simulated                                                                                                                                                                                              time.Duration
}

// Add sums up runs.
func (c *Counts) Add(other Counts) {
	c.Steps += other.Steps
	c.Calls += other.Calls
	c.Faults += other.Faults
	c.Events += other.Events
	c.Deliveries += other.Deliveries
	c.Attempts += other.Attempts
	c.Unrecorded += other.Unrecorded
	c.Stale += other.Stale
	c.SetAside += other.SetAside
	c.Resent += other.Resent
	c.Kills += other.Kills
	c.Rebuilt += other.Rebuilt
	c.Announced += other.Announced
	c.Rerendered += other.Rerendered
	c.PutBack += other.PutBack
	c.NoRoom += other.NoRoom
	c.Pauses += other.Pauses
	c.Skips += other.Skips
	c.Released += other.Released
	c.Gated += other.Gated
	c.Gone += other.Gone
	c.PurgedEvents += other.PurgedEvents
	c.PurgedDeliveries += other.PurgedDeliveries
	c.Pulled += other.Pulled
	c.Told += other.Told
	c.Replayed += other.Replayed
	c.GivenUp += other.GivenUp
	c.Failing += other.Failing
	c.Ordered += other.Ordered
	c.Repeated += other.Repeated
	c.Refused += other.Refused
	c.NoSpace += other.NoSpace
	c.Knocks += other.Knocks
	c.Collided += other.Collided
	c.Missing += other.Missing
	c.Edited += other.Edited
	c.Unmet += other.Unmet
	c.Audited += other.Audited
	c.Simulated += other.Simulated
}

func (c Counts) String() string {
	return fmt.Sprintf("%s simulated, %d steps, %d calls of the store, %d faults (%d deaths), %d events, %d deliveries, %d attempts (%d not recorded), %d stale outcomes refused, %d times an event set aside, %d deliveries resent by jobs, %d rebuilds, %d ends of rotations announced, %d deliveries rendered anew, %d put back since their turn came too late, %d times no room at the attempts, %d pauses, %d skips, %d deliveries released, %d gated, %d receivers gone, %d events and %d deliveries purged, %d events pulled, %d changes told, %d of them replayed, %d dead letters announced, %d failing announced, %d orders carried out, %d of them answered again, %d requests beyond a quota, %d without room, %d knocks, %d transactions run again, %d missing deliveries begun, %d subscriptions edited, %d edits refused, %d deliveries foretold by dry runs",
		c.Simulated.Round(time.Second), c.Steps, c.Calls, c.Faults, c.Kills, c.Events, c.Deliveries, c.Attempts, c.Unrecorded, c.Stale, c.SetAside, c.Resent, c.Rebuilt, c.Announced, c.Rerendered, c.PutBack, c.NoRoom,
		c.Pauses, c.Skips, c.Released, c.Gated, c.Gone, c.PurgedEvents, c.PurgedDeliveries, c.Pulled, c.Told, c.Replayed, c.GivenUp, c.Failing, c.Ordered, c.Repeated, c.Refused, c.NoSpace, c.Knocks, c.Collided, c.Missing, c.Edited, c.Unmet, c.Audited)
}

// Violation is an invariant that did not hold.
type Violation struct {
	Invariant string // I1 … I10, as issue 5 numbers them, or what else went wrong
	Detail    string
	At        time.Duration // since the beginning
}

func (v *Violation) String() string {
	return fmt.Sprintf("%s at %s: %s", v.Invariant, v.At.Round(time.Microsecond), v.Detail)
}

// Run simulates what the options describe.
func Run(o Options) Result {
	w := newWorld(o)
	w.run()
	w.close()
	w.counts.Simulated = w.now.Sub(epoch)
	return Result{Violation: w.violation, Trace: w.trace.sum, Lines: w.trace.lines, Counts: w.counts}
}

// epoch is when every run begins.
var epoch = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// world is all there is in a run.
type world struct {
	Options
	settings
	now   time.Time // the true time; processes have clocks of their own
	quiet bool      // the faults have stopped
	calm  time.Time // when they did
	// restingSince is when nothing was left to do but to free slots.
	restingSince time.Time

	// Chance has a source for each concern, so that one draw more in one of them leaves the others alone.
	order, trouble, weather, people, material, office, reading, editing, asking *rand.Rand

	store      *memory.Store
	planted    func(Store) Store // nil for no bug
	processes  []*process
	activities []*activity
	admin      *activity
	auditor    *activity // while it asks for a dry run
	current    *activity
	ready      []*activity // scratch of pick
	busy       int         // users that are not done
	pullers    []*puller
	followers  []*follower
	orders     []*order
	edited     []*edit

	receivers map[string]*receiver // by host
	journal   journal
	faults    faults
	trace     trace
	counts    Counts
	violation *Violation
}

func newWorld(o Options) *world {
	w := &world{Options: o, now: epoch, store: memory.New(), receivers: map[string]*receiver{}}
	for i, source := range []**rand.Rand{&w.order, &w.trouble, &w.weather, &w.people, &w.material, &w.office, &w.reading, &w.editing, &w.asking} {
		*source = rand.New(rand.NewPCG(o.Seed, uint64(i)))
	}
	w.settings = o.settle()
	w.trace = trace{keep: o.Log, world: w, sum: fnvOffset}
	w.faults = faults{world: w}
	w.journal = newJournal()
	w.store.Committed = w.committed
	if o.Bug != nil {
		w.planted = o.Bug.Plant()
	}
	return w
}

// Bounds of a run; the last two are reached only by what never comes to rest.
const (
	troubled   = 90 * time.Second // at least, of simulated time with faults
	maxQuiet   = 30 * time.Minute
	maxStepsOf = 400_000
)

// run lets one activity after the other work until everything has come to rest.
func (w *world) run() {
	w.settleIn()
	for w.violation == nil {
		a := w.pick()
		w.counts.Steps++
		w.trace.step(a)
		w.current = a
		a.work()
		w.current = nil
		w.tidy()
		if w.counts.Steps%checkEvery == 0 {
			w.checkStore()
		}
		if !w.quiet && w.now.Sub(epoch) > troubled && w.busy == 0 {
			w.endTrouble()
		}
		if w.quiet && w.atRest() {
			w.checkAll()
			return
		}
		if w.counts.Steps > maxStepsOf || w.quiet && w.now.Sub(w.calm) > maxQuiet+2*w.furthest {
			w.violate("I1", "nothing comes to rest: %s", w.restless())
		}
	}
}

// violate notes the first invariant that does not hold.
func (w *world) violate(invariant, format string, args ...any) {
	if w.violation == nil {
		w.violation = &Violation{invariant, fmt.Sprintf(format, args...), w.now.Sub(epoch)}
		w.trace.line("VIOLATION %s", w.violation)
	}
}

// close ends what is still going on.
func (w *world) close() {
	for _, a := range w.activities {
		a.cut()
	}
}
