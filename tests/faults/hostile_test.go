package faults_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	domain "github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/tests/hostile"
)

// hostileScenarios are about receivers that mean harm.
var hostileScenarios = []scenario{
	{name: "a thousand hostile receivers", does: "a thousand subscriptions lead to receivers in another process that do whatever a receiver can (tests/hostile), each called every five seconds; " +
		"the process's memory and the latency of the others then are compared with what they are at the same rate without them, before and after",
		invariants: "I6", on: []kind{onSQLite}, run: besideHostile(hostileTenants), alone: true},
	{name: "a thousand hostile receivers at one moment", does: "the same, all of them called in the same moment, with ORDINAVO_MAX_IN_FLIGHT at 2000, where it is 512 by default", invariants: "I6",
		on: []kind{onSQLite}, run: besideHostile(1, "ORDINAVO_MAX_IN_FLIGHT=2000"), alone: true, inFull: true},
}

// A thousand hostile receivers, and what they may cost.
const (
	hostileReceivers = 1000
	hostileTenants   = 10
	hostileTimeout   = 5 // seconds that an attempt at one of them may take
	maxHostileMemory = 64 << 20
	// maxHostileShort is the same in the short form, on a machine that is busy with other tests: garbage is collected late there.
	maxHostileShort = 128 << 20
	maxHostileRatio = 1.2
	// spareGoroutines is what the process may have more than before, for what it does beside all this.
	spareGoroutines = 30
)

// besideHostile measures the memory that the process has resident at most in each part of the run. The hostile receivers are
// provoked in so many parts, one after the other.
func besideHostile(parts int, env ...string) func(*testing.T, kind) string {
	return func(t *testing.T, k kind) string {
		receivers, stop, err := hostile.Start()
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		yield(t, receivers.PID)
		roots := filepath.Join(t.TempDir(), "roots.pem")
		if err := os.WriteFile(roots, receivers.Roots, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, fresh(t, k), nil, append([]string{"SSL_CERT_FILE=" + roots}, env...)...)
		well := s.manyTenants(30)
		h := &crowd{site: s, parts: parts, ports: receivers.Ports}
		h.subscribe(receivers)
		s.pace(well, inFull(time.Second, 3*time.Second)) // for warming up
		s.settle()
		return h.compare(well, stop)
	}
}

// yield leaves the machine to the others where a process would take time from them: hostile receivers have machines of their own.
func yield(t *testing.T, pid int) {
	t.Helper()
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads { // those that begin later are as who begins them
		if id, err := strconv.Atoi(thread.Name()); err == nil {
			err = syscall.Setpriority(syscall.PRIO_PROCESS, id, 19)
			if err != nil && !errors.Is(err, syscall.ESRCH) {
				t.Fatal(err)
			}
		}
	}
}

// compare measures before, beside and, once stop has ended the hostile receivers, after them.
func (h *crowd) compare(well []string, stop func()) string {
	length := inFull(hostileTimeout*time.Second, time.Minute)
	alone, before, idle := h.measure(well, length, nil)
	beside, peak, _ := h.measure(well, length, h.provoke)
	met := h.meet()
	stop()
	goroutines := 0.0
	if poll(patience, func() bool {
		goroutines, _ = h.metric(h.turn(0), "go_goroutines")
		return goroutines <= idle+spareGoroutines
	}) != nil {
		h.Errorf("I7: %.0f goroutines, and %.0f before the hostile receivers", goroutines, idle)
	}
	if *full {
		again, _, _ := h.measure(well, length, nil)
		alone = append(alone, again...)
	}
	for _, line := range []string{"Unsolicited response", "unhandled response frame"} {
		if h.turn(0).log.says(line) {
			h.Errorf("I7: what receivers send gets into the log: %s", line)
		}
	}
	p99, p99Beside := slowest(alone), slowest(beside)
	ratio := float64(p99Beside) / float64(p99)
	if more := peak - before; more > maxHostileShort || *full && more > maxHostileMemory {
		h.Errorf("I7: %d MiB beside them, and %d else", peak>>20, before>>20)
	}
	if *full && ratio > maxHostileRatio {
		h.Errorf("I6: p99 is %s beside them, and %s else", p99Beside, p99)
	}
	if least := leastOut[h.parts]; *full && h.most < least {
		h.Errorf("%d attempts were out at once, and not %d", h.most, least)
	}
	return fmt.Sprintf("%d kinds, each met as what it is at least %d times, up to %d attempts out; resident memory at most %d MiB, with them %d MiB; p99 of the healthy from POST to arrival %.1f ms, beside them %.1f ms: %.2f times; p50 %.1f and %.1f ms; "+
		"%.0f goroutines before and %.0f after; %s", len(h.ports), met, h.most, before>>20, peak>>20, ms(p99), ms(p99Beside), ratio, ms(alone[len(alone)/2]), ms(beside[len(beside)/2]), idle, goroutines, h.check())
}

// crowd is the hostile receivers' subscriptions.
type crowd struct {
	*site
	subs    []subscription
	tenants []string
	ports   []int // of each kind
	parts   int
	most    int // attempts at once
}

// leastOut is how many attempts must have been out at once in full, by the parts in which they are provoked: a third of all kinds
// let their callers wait.
var leastOut = map[int]int{1: 600, hostileTenants: 250}

// kindOf is of the subscription with this number.
func (h *crowd) kindOf(i int) int { return i / hostileTenants % len(h.ports) }

// meet waits until each kind has been called, with the outcome that it is there for, and says how often at least. What came to another
// one, since the machine was too busy, is called again now that little else goes on.
func (h *crowd) meet() (least int) {
	h.Helper()
	unmet, called, again := "", time.Now(), 0
	if err := poll(patience, func() bool {
		met := h.met()
		least = slices.Min(met)
		unmet = hostile.Kinds()[slices.Index(met, least)].Name
		if least == 0 && time.Since(called) > 2*hostileTimeout*time.Second {
			h.provokeOne(h.tenants[again%len(h.tenants)])
			called, again = time.Now(), again+1
		}
		return least > 0
	}); err != nil {
		h.Errorf("no attempt at %q came to %s: %v", unmet, hostile.Outcomes[unmet], err)
	}
	return least
}

// met is how many attempts at each kind came to what the kind is there for.
func (h *crowd) met() []int {
	h.Helper()
	kinds, of, met := hostile.Kinds(), map[string]int{}, make([]int, len(h.ports))
	for i, sub := range h.subs {
		of[sub.ID] = h.kindOf(i)
	}
	for _, tenant := range h.tenants {
		for _, p := range h.metrics(tenant) {
			want := hostile.Outcomes[kinds[of[p.SubscriptionID]].Name]
			if want == domain.KindConnectionLost { // which the API has no word of its own for
				want = domain.KindConnectionRefused
			}
			if p.Outcome == string(want) {
				met[of[p.SubscriptionID]] += p.Count
			}
		}
	}
	return met
}

func (h *crowd) subscribe(receivers hostile.Running) {
	h.Helper()
	for i := range hostileTenants {
		id := fmt.Sprintf("hostile-%d", i)
		h.post("", "/v1/tenants", object{"tenantId": id, "name": id}, nil)
		h.tenants = append(h.tenants, id)
	}
	for i := range hostileReceivers {
		sub := subscription{tenant: h.tenants[i%hostileTenants]}
		h.post(sub.tenant, "/v1/subscriptions", object{"name": fmt.Sprint(i), "url": receivers.URL(h.kindOf(i), i), "eventTypes": []string{"visit_report.*"},
			"sourceSystem": "sap", "timeoutSeconds": hostileTimeout, "retrySchedule": []string{"72h"}}, &sub)
		h.subs = append(h.subs, sub)
	}
}

// provoke has each hostile receiver called every hostileTimeout, until stop is closed. Of its share of that time each part takes any moment:
// at the same one each time, all parts or none would meet an event of the healthy.
func (h *crowd) provoke(stop <-chan struct{}) {
	share := hostileTimeout * time.Second / time.Duration(h.parts)
	for part, began := 0, time.Now(); ; part++ {
		select {
		case <-time.After(time.Until(began.Add(time.Duration(part)*share + rand.N(min(share, mostOff))))):
		case <-stop:
			return
		}
		for i, tenant := range h.tenants {
			if i%h.parts == part%h.parts {
				h.provokeOne(tenant)
			}
		}
	}
}

// mostOff is by how much a part's moment varies.
const mostOff = hostileTimeout * time.Second / hostileTenants

// provokeOne has all hostile receivers of the tenant called.
func (h *crowd) provokeOne(tenant string) {
	if status, text, err := h.any(tenant, http.MethodPost, "/v1/events", visit(tenant, newEventID())); err != nil || status != http.StatusAccepted {
		h.Errorf("emit: %d %s %v", status, text, err)
	}
}

// measure emits for the healthy for a time, with something going on beside it, and gives their latencies, the most memory that
// the process had resident, and its goroutines in the end.
func (h *crowd) measure(well []string, length time.Duration, beside func(stop <-chan struct{})) (took []time.Duration, resident int, goroutines float64) {
	h.Helper()
	p := h.turn(0)
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.command.Process.Pid), []byte("5"), 0); err != nil { // VmHWM begins anew
		h.Fatal(err)
	}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() { h.watch(p, stop) }) // with nothing beside them, too, since it costs the process some of its time
	if beside != nil {
		busy.Go(func() { beside(stop) })
	}
	took = h.latencies(well, h.pace(well, length))
	close(stop)
	busy.Wait()
	goroutines, err := h.metric(p, "go_goroutines")
	if err != nil {
		h.Fatal(err)
	}
	return took, highWater(h.T, p), goroutines
}

// watch notes how many attempts are out at most, once a second or so: what it asks takes the process some of its time.
func (h *crowd) watch(p *process, stop <-chan struct{}) {
	for {
		select {
		case <-time.After(rand.N(2 * time.Second)):
			if out, err := h.metric(p, "ordinavo_attempts_in_flight"); err == nil {
				h.most = max(h.most, int(out))
			}
		case <-stop:
			return
		}
	}
}

// highWater is the most memory that a process had resident, in bytes.
func highWater(t *testing.T, p *process) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.Atoi(strings.Fields(value)[0])
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatal("the process has no memory")
	return 0
}
