package faults_test

import (
	"context"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// overloadScenarios are about more than can be delivered.
var overloadScenarios = []scenario{
	{name: "overload", does: "events come in faster than their slow receivers take them, and then the receivers are quick", on: both,
		run: overload(func() int { return 0 }, 20*time.Second), alone: true, inFull: true},
	{name: "overload with 96 MiB", does: "the same, with GOMEMLIMIT at 96 MiB for each process", on: both,
		run: overload(func() int { return 0 }, 20*time.Second, "GOMEMLIMIT=96MiB"), alone: true, inFull: true},
	{name: "overload pushed back", does: "the same for ten minutes, with GOMEMLIMIT at 128 MiB and ORDINAVO_MAX_OPEN at 100,000 (both less in a shorter form): " +
		"who emits is told to come again, half of whom come at once", on: both, run: overload(maxOpen, 10*time.Minute, "GOMEMLIMIT=128MiB"), alone: true},
}

// maxOpen is what is reached in a small part of the flood, and takes a while to be delivered.
func maxOpen() int { return inFull(4_000, 100_000) }

// one of so many events of an overload is looked at closely; of all others it is counted where they arrived.
const sampleOf = 128

func sampled(id string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id))
	return h.Sum32()%sampleOf == 0
}

// flood is a load in a closed loop, and what it saw.
type flood struct {
	*site
	mu       sync.Mutex
	accepted int // events
	wanted   int // deliveries of them
	took     []time.Duration
	refused  []time.Duration // how long each answer took that told to come again
}

const floodBatch = 50

// pour emits until the context ends, as fast as the service takes it.
func (f *flood) pour(ctx context.Context, workers int) {
	var pouring sync.WaitGroup
	for w := range workers {
		pouring.Go(func() {
			for turn := w; ctx.Err() == nil; turn++ {
				f.offer(ctx, turn, w%2 == 0)
			}
		})
	}
	pouring.Wait()
}

const (
	// impatience is for how long those wait who do not wait as long as they are told to.
	impatience = 50 * time.Millisecond
	// mayBeAccepted is how long an answer takes, other than 202, after which the events may be accepted yet: a commit under way is waited
	// for, and nobody may know what became of it.
	mayBeAccepted = 20 * time.Second
)

// offer sends a batch until it is accepted, or the context ends after it was refused.
func (f *flood) offer(ctx context.Context, turn int, patient bool) {
	tenant := tenants[turn%len(tenants)]
	events := make([]object, floodBatch)
	for i := range events {
		events[i] = visit(tenant, newEventID())
	}
	var unsure time.Time // since when
	for unsure.IsZero() || time.Since(unsure) < patience {
		began := time.Now()
		done, refused, wait := f.try(turn, tenant, events)
		if done {
			return
		}
		if !refused && unsure.IsZero() {
			unsure = began
		}
		if !patient {
			wait = min(wait, impatience)
		}
		over := ctx.Done()
		if !unsure.IsZero() {
			over = nil // what may be accepted is to be counted
		}
		select {
		case <-time.After(wait):
		case <-over:
			return
		}
	}
	f.Errorf("nobody knows after %s whether a batch was accepted", patience)
}

// try sends a batch once. Unless that is all, it says whether the batch was refused for sure, and when to come again.
func (f *flood) try(turn int, tenant string, events []object) (done, refused bool, wait time.Duration) {
	began := time.Now()
	status, header, text, err := f.call(context.Background(), f.turn(turn), tenant, http.MethodPost, "/v1/events", object{"events": events})
	took := time.Since(began)
	switch {
	case err != nil:
		return false, false, impatience
	case status == http.StatusAccepted:
		f.note(tenant, events, took)
		return true, false, 0
	}
	wait, err = f.refuse(status, header, text, took)
	if err != nil {
		f.Error(err)
	}
	return err != nil, took < mayBeAccepted, wait
}

// refuse notes an answer that says to come again, and when.
func (f *flood) refuse(status int, header http.Header, text []byte, took time.Duration) (wait time.Duration, err error) {
	if err := f.excuse(status, header, text); err != nil {
		return 0, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.refused = append(f.refused, took)
	return time.ParseDuration(header.Get("Retry-After") + "s")
}

func (f *flood) note(tenant string, events []object, took time.Duration) {
	f.mu.Lock()
	f.accepted += len(events)
	f.many[tenant] += len(events)
	for _, sub := range f.subs {
		if sub.wants && sub.tenant == tenant {
			f.wanted += len(events)
		}
	}
	f.took = append(f.took, took)
	f.mu.Unlock()
	f.site.mu.Lock()
	defer f.site.mu.Unlock()
	for _, e := range events {
		if id := e["eventId"].(string); sampled(id) {
			f.site.accepted = append(f.site.accepted, accepted{id, tenant, time.Now(), took})
		}
	}
}

// waiting is how many deliveries of what was accepted have not arrived.
func (f *flood) waiting() int {
	arrived := f.receiver.distinct() // before what is wanted, so that it is never too few
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wanted - arrived
}

// percentile is that of a part of the durations, which are in the order of time: from and to in thirds.
func percentile(all []time.Duration, p float64, from, to int) time.Duration {
	part := slices.Sorted(slices.Values(all[len(all)*from/3 : len(all)*to/3]))
	if len(part) == 0 {
		return 0
	}
	return part[int(p*float64(len(part)-1))]
}

// Bounds of an overload in full, where nothing else runs: a margin beyond what an idle machine shows.
const (
	maxAccept     = 5 * time.Second // p99 of each third, of which an idle machine shows half a second
	longestAccept = 30 * time.Second
	maxGrowth     = 1.25 // of the memory, from the second third of the flood to its last
	maxOverloaded = 200  // MiB that a process may have resident at any time of it
	minDrain      = 0.8  // of the throughput with no backlog: full speed, and a margin for two measurements of some ten seconds
)

// overload bounds the deliveries that are not finished, unless that is 0.
func overload(bound func() int, length time.Duration, env ...string) func(*testing.T, kind) string {
	return func(t *testing.T, k kind) string {
		maxOpen, settings := bound(), slices.Clone(env) // env is that of all databases' runs
		if maxOpen > 0 {
			settings = append(settings, fmt.Sprintf("ORDINAVO_MAX_OPEN=%d", maxOpen))
		}
		s := open(t, fresh(t, k), nil, settings...).prepare()
		s.receiver.tally, s.many = map[string]int{}, map[string]int{}
		f := &flood{site: s}
		usual := f.throughput()
		s.receiver.answers(func(arrival) int { during(500 * time.Millisecond); return http.StatusOK })
		memory, most := f.flood(inFull(2*time.Second, length), maxOpen > 0)
		backlog := f.waiting()
		if f.accepted == 0 {
			t.Error("nothing was accepted")
		}
		s.receiver.answers(nil)
		began := time.Now()
		f.drained()
		drain := float64(backlog) / time.Since(began).Seconds()
		if limit := maxOpen + maxOpen/4 + floodWorkers*floodBatch*len(s.subs); maxOpen > 0 && most > limit {
			t.Errorf("%d deliveries waited at once, with a bound of %d", most, maxOpen)
		}
		first, middle, last := percentile(f.took, 0.99, 0, 1), percentile(f.took, 0.99, 1, 2), percentile(f.took, 0.99, 2, 3)
		if top := max(memory[0], memory[1], memory[2]); top > maxOverloaded {
			t.Errorf("I7: %.0f MiB", top)
		}
		if longest := percentile(f.took, 1, 0, 3); *full && (longest > longestAccept || max(first, middle, last) > maxAccept || memory[2] > maxGrowth*memory[1] || drain < minDrain*usual) {
			t.Errorf("accepted after %s at most, p99 in thirds %s, %s and %s, memory went from %.0f to %.0f MiB, %.0f deliveries a second in the drain and %.0f before", longest, first, middle, last, memory[1], memory[2], drain, usual)
		}
		stored, wal := s.stored()
		return fmt.Sprintf("for %.0f s: %d events accepted, %d requests told to come again (p99 of those answers %.0f ms); 202 after %.0f ms (p50), p99 in thirds of the time %.0f, %.0f and %.0f ms; "+
			"%d deliveries waited at most, %d at the end; memory in thirds %.0f, %.0f and %.0f MiB; drained at %.0f/s, %.2f times what it is with no backlog (at least %.2f in full); %d MiB stored then, and %d MiB in SQLite's WAL; of %d events looked at: %s",
			inFull(2*time.Second, length).Seconds(), f.accepted, len(f.refused), ms(percentile(f.refused, 0.99, 0, 3)), ms(percentile(f.took, 0.5, 0, 3)), ms(first), ms(middle), ms(last),
			most, backlog, memory[0], memory[1], memory[2], drain, drain/usual, minDrain, stored>>20, wal>>20, len(s.events()), s.check())
	}
}

// throughput is how many deliveries a second there are when nothing waits.
func (f *flood) throughput() float64 {
	f.Helper()
	warm, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	for i := range 20 {
		f.offer(warm, i, false)
	}
	f.drained()
	before, began := f.wanted, time.Now()
	ctx, cancel := context.WithTimeout(f.Context(), inFull(time.Second, 10*time.Second))
	defer cancel()
	f.pour(ctx, 4)
	f.drained()
	delivered := float64(f.wanted - before)
	f.took, f.refused, f.accepted = nil, nil, 0
	return delivered / time.Since(began).Seconds()
}

const floodWorkers = 8

// flood pours for a time, and until somebody is pushed back if that is to come. It gives the most memory that a process
// had in each third of it, in MiB, and how many deliveries waited at most.
func (f *flood) flood(length time.Duration, pushedBack bool) (memory [3]float64, most int) {
	f.Helper()
	ctx, stop := context.WithCancel(f.Context())
	poured := make(chan struct{})
	go func() { defer close(poured); f.pour(ctx, floodWorkers) }()
	for began := time.Now(); time.Since(began) < length; {
		during(min(time.Second, length/60))
		third := min(2, int(3*time.Since(began)/length))
		most = max(most, f.waiting())
		f.alive(func(_ int, p *process) {
			if value, err := f.metric(p, "process_resident_memory_bytes"); err == nil {
				memory[third] = max(memory[third], value/(1<<20))
			}
		})
	}
	if pushedBack {
		eventually(f.T, "somebody is pushed back", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.refused) > 0
		})
	}
	stop()
	<-poured
	return memory, max(most, f.waiting())
}

// drained waits until everything that was accepted has arrived everywhere.
func (f *flood) drained() {
	f.Helper()
	for left := f.waiting(); left > 0; left = f.waiting() { // as long as it moves
		if err := poll(patience, func() bool { return f.waiting() < left }); err != nil {
			f.Fatalf("%d deliveries do not come: %v", left, err)
		}
	}
	if got, want := f.receiver.distinct(), f.wanted; got > want {
		f.Errorf("I2: %d came, and %d were accepted", got, want)
	}
}
