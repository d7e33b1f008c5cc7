package simulation

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/retention"
)

// Options describe a run. All but the seed serve to make a run smaller: the fewer of them are set, the more
// is up to the seed.
type Options struct {
	Seed uint64
	Log  bool // keep lines that tell the run
	Bug  *Bug // what is planted; nil for nothing

	// At most so many; -1 leaves it to the seed.
	Processes, Events, Changes, Faults int
	// Without names kinds of faults that do not happen.
	Without []string
}

// Seeded is a run that the seed alone describes.
func Seeded(seed uint64) Options {
	return Options{Seed: seed, Processes: -1, Events: -1, Changes: -1, Faults: -1}
}

// String is the options but for the seed, as Parse reads them; empty when the seed says it all.
func (o Options) String() string {
	var parts []string
	for _, f := range o.limits() {
		if *f.value >= 0 {
			parts = append(parts, f.name+"="+strconv.Itoa(*f.value))
		}
	}
	if len(o.Without) > 0 {
		parts = append(parts, "without="+strings.Join(o.Without, "+"))
	}
	return strings.Join(parts, ",")
}

type limit struct {
	name  string
	value *int
}

func (o *Options) limits() []limit {
	return []limit{{"processes", &o.Processes}, {"events", &o.Events}, {"changes", &o.Changes}, {"faults", &o.Faults}}
}

// Parse adds what String has written.
func (o Options) Parse(text string) (Options, error) {
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		if part == "" {
			continue
		}
		if name == "without" {
			o.Without = strings.Split(value, "+")
			continue
		}
		limits := o.limits()
		i := slices.IndexFunc(limits, func(l limit) bool { return l.name == name })
		n, err := strconv.Atoi(value)
		if i < 0 || err != nil {
			return o, fmt.Errorf("%q is none of processes=, events=, changes=, faults= with a number, or without=", part)
		}
		*limits[i].value = n
	}
	return o, nil
}

// settings is what a seed decides before anything happens.
type settings struct {
	processes   int
	tenants     int
	events      int // requests of emitters
	jobs        int // requests for bulk retries and replays
	changes     int // of subscriptions, features, the directory, and retries
	maxInFlight int
	atOnce      int // deliveries that are scheduled in one go
	schedule    []time.Duration
	rates       [faultKinds]int // of 10,000 occasions
	clocks      bool            // clocks jump, so what they say is not compared
	furthest    time.Duration   // how far a clock is set from the true time
	mended      time.Duration   // until when fan-out panics at some events; 0 for never
	ages        retention.Ages
	purges      bool // they are short, so that much is deleted while the run lasts
	shared      bool // the processes share the roles
	pulls       bool // somebody pulls events
	follows     bool // somebody follows deliveries
	audits      bool // somebody asks for dry runs
	bounds      intake.Limits
}

func (o Options) settle() settings {
	r := rand.New(rand.NewPCG(o.Seed, 99))
	s := settings{
		processes: 1 + r.IntN(4), tenants: 1 + r.IntN(3), events: 3 + r.IntN(25), changes: r.IntN(20), maxInFlight: 1 + r.IntN(6),
		schedule: [][]time.Duration{{time.Second, 5 * time.Second}, {2 * time.Second, 10 * time.Second, 20 * time.Second}, {5 * time.Second}}[r.IntN(3)],
	}
	for kind := range faultKinds {
		// Each kind is left out of half the runs: what one kind hides, another run shows.
		if on, strength := r.IntN(2) == 0, 1+r.IntN(3); on && !slices.Contains(o.Without, kind.String()) {
			s.rates[kind] = kind.rate() * strength
		}
	}
	s.clocks = s.rates[clockJumps] > 0
	if r.IntN(2) == 0 {
		s.mended = earliestMend + time.Duration(r.Int64N(int64(latestMend-earliestMend)))
	}
	s.atOnce = []int{1, 3, 8, fanout.DefaultAtOnce}[r.IntN(4)]
	if s.jobs = r.IntN(6); o.Changes >= 0 {
		s.jobs = min(s.jobs, o.Changes)
	}
	s.ages = retention.Ages{Events: 30 * 24 * time.Hour, Attempts: 30 * 24 * time.Hour, DeadLetters: 90 * 24 * time.Hour}
	if s.purges = r.IntN(5) == 0; s.purges {
		for _, age := range []*time.Duration{&s.ages.Events, &s.ages.Attempts, &s.ages.DeadLetters} {
			*age = time.Duration(20+r.IntN(41)) * time.Second
		}
	}
	if s.furthest = 40 * time.Second; r.IntN(4) == 0 {
		s.furthest = time.Hour
	}
	s.shared = r.IntN(4) == 0
	s.pulls, s.follows = r.IntN(3) == 0, r.IntN(8) == 0
	if r.IntN(4) == 0 {
		s.bounds = intake.Limits{EventsPerDay: 10 + r.IntN(60), TenantOpen: 5 + r.IntN(40), Open: 10 + r.IntN(60), FanOutLag: time.Duration(2+r.IntN(20)) * time.Second}
	}
	s.audits = r.IntN(3) == 0 && !s.purges // what is deleted between the two is not foretold
	for _, l := range []struct{ limit, value *int }{{&o.Processes, &s.processes}, {&o.Events, &s.events}, {&o.Changes, &s.changes}} {
		if *l.limit >= 0 {
			*l.value = min(*l.value, *l.limit)
		}
	}
	return s
}
