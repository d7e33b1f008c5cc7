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
		run: overload(0), alone: true, inFull: true},
	{name: "overload with 128 MiB", does: "the same, with GOMEMLIMIT at 128 MiB for each process", on: both, run: overload(0, "GOMEMLIMIT=128MiB"), alone: true, inFull: true},
	{name: "overload with 96 MiB", does: "the same, with GOMEMLIMIT at 96 MiB for each process", on: both, run: overload(0, "GOMEMLIMIT=96MiB"), alone: true, inFull: true},
	{name: "overload pushed back", does: "the same, with GOMEMLIMIT at 128 MiB and ORDINAVO_MAX_OPEN at 4000: who emits is told to come again", on: both,
		run: overload(4000, "GOMEMLIMIT=128MiB"), alone: true},
}

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
	refused  int // requests
	took     []time.Duration
}

const floodBatch = 50

// pour emits until stop is closed, as fast as the service takes it.
func (f *flood) pour(stop <-chan struct{}, workers int) {
	var pouring sync.WaitGroup
	for w := range workers {
		pouring.Go(func() {
			for turn := w; ; turn++ {
				select {
				case <-stop:
					return
				default:
					f.offer(turn, stop)
				}
			}
		})
	}
	pouring.Wait()
}

// offer sends a batch until it is accepted or stop is closed, and waits as long as it is told to.
func (f *flood) offer(turn int, stop <-chan struct{}) {
	tenant := tenants[turn%len(tenants)]
	events := make([]object, floodBatch)
	for i := range events {
		events[i] = visit(tenant, newEventID())
	}
	for range 100 {
		began := time.Now()
		status, header, text, err := f.call(context.Background(), f.turn(turn), tenant, http.MethodPost, "/v1/events", object{"events": events})
		if err == nil && status == http.StatusAccepted {
			f.note(tenant, events, time.Since(began))
			return
		}
		if err == nil {
			err = f.excuse(status, header, text)
		}
		if err != nil {
			f.Error(err)
			return
		}
		f.mu.Lock()
		f.refused++
		f.mu.Unlock()
		wait, err := time.ParseDuration(header.Get("Retry-After") + "s")
		if err != nil {
			f.Error(err)
		}
		select {
		case <-time.After(wait):
		case <-stop:
			return
		}
	}
	f.Error("a batch was refused 100 times")
}

func (f *flood) note(tenant string, events []object, took time.Duration) {
	f.mu.Lock()
	f.accepted += len(events)
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

// percentile is that of the answers of a part of the flood, from and to in thirds.
func (f *flood) percentile(p float64, from, to int) time.Duration {
	part := slices.Sorted(slices.Values(f.took[len(f.took)*from/3 : len(f.took)*to/3]))
	return part[int(p*float64(len(part)-1))]
}

// Bounds of an overload: a wide margin beyond what an idle machine shows. Those of memory and speed hold where nothing
// else runs.
const (
	longestAccept = 30 * time.Second
	maxGrowth     = 1.5 // of the memory, from the second third of the flood to its last
	minDrain      = 0.3 // of the throughput with no backlog
)

// overload bounds the deliveries that are not finished, unless maxOpen is 0.
func overload(maxOpen int, env ...string) func(*testing.T, kind) string {
	if maxOpen > 0 {
		env = append(env, fmt.Sprintf("ORDINAVO_MAX_OPEN=%d", maxOpen))
	}
	return func(t *testing.T, k kind) string {
		s := open(t, fresh(t, k), nil, env...).prepare()
		s.receiver.tally = map[string]int{}
		f := &flood{site: s}
		usual := f.throughput()
		s.receiver.answers(func(arrival) int { during(200 * time.Millisecond); return http.StatusOK })
		memory := f.flood(inFull(2*time.Second, 10*time.Minute), maxOpen > 0)
		backlog := f.wanted - s.receiver.distinct()
		s.receiver.answers(nil)
		began := time.Now()
		f.drained()
		drain := float64(backlog) / time.Since(began).Seconds()
		first, last, longest := f.percentile(0.99, 0, 1), f.percentile(0.99, 2, 3), f.percentile(1, 0, 3)
		if longest > longestAccept || *full && (memory[2] > maxGrowth*memory[1] || drain < minDrain*usual) {
			t.Errorf("accepted after %s at most, memory grew from %.0f to %.0f MiB, %.0f deliveries a second in the drain and %.0f before", longest, memory[1], memory[2], drain, usual)
		}
		return fmt.Sprintf("%d events accepted, %d requests pushed back, 202 after %.0f ms (p50), p99 %.0f ms in the first third and %.0f in the last; backlog %d; %.0f MiB in the first third, %.0f in the last; drained at %.0f/s, with no backlog %.0f/s; of %d looked at: %s",
			f.accepted, f.refused, ms(f.percentile(0.5, 0, 3)), ms(first), ms(last), backlog, memory[0], memory[2], drain, usual, len(s.events()), s.check(0))
	}
}

// throughput is how many deliveries a second there are when nothing waits.
func (f *flood) throughput() float64 {
	f.Helper()
	for i := range 20 { // for warming up
		f.offer(i, nil)
	}
	f.drained()
	before, began := f.wanted, time.Now()
	stop := make(chan struct{})
	time.AfterFunc(inFull(time.Second, 10*time.Second), func() { close(stop) })
	f.pour(stop, 4)
	f.drained()
	f.took = nil
	return float64(f.wanted-before) / time.Since(began).Seconds()
}

// flood pours for a time, and until somebody is pushed back if that is to come, and gives the most memory that a process
// had in each third of it, in MiB. A process looks at what waits once a second, and less often where that takes long.
func (f *flood) flood(length time.Duration, pushedBack bool) (most [3]float64) {
	f.Helper()
	stop, poured := make(chan struct{}), make(chan struct{})
	go func() { defer close(poured); f.pour(stop, 8) }()
	began := time.Now()
	for time.Since(began) < length {
		during(length / 60)
		third := min(2, int(3*time.Since(began)/length))
		f.alive(func(_ int, p *process) {
			if value, err := f.metric(p, "process_resident_memory_bytes"); err == nil {
				most[third] = max(most[third], value/(1<<20))
			}
		})
	}
	if pushedBack {
		eventually(f.T, "somebody is pushed back", func() bool {
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.refused > 0
		})
	}
	close(stop)
	<-poured
	return most
}

// drained waits until everything that was accepted has arrived everywhere.
func (f *flood) drained() {
	f.Helper()
	for left := f.wanted - f.receiver.distinct(); left > 0; { // as long as it moves
		if err := poll(patience, func() bool { return f.wanted-f.receiver.distinct() < left }); err != nil {
			f.Fatalf("%d deliveries do not come: %v", left, err)
		}
		left = f.wanted - f.receiver.distinct()
	}
	if got, want := f.receiver.distinct(), f.wanted; got > want {
		f.Errorf("I2: %d came, and %d were accepted", got, want)
	}
}
