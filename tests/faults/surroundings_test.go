package faults_test

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/faults"
	"github.com/ordinavo/webhooks/application/dispatch"
)

// processScenarios are about what surrounds a process: its clock, its disk, its collector, its end.
var processScenarios = []scenario{
	{name: "SIGTERM", does: "a process with 500 attempts out is asked to end, and another one goes on", on: both, run: terminate},
	{name: "clock set", does: "the clock goes an hour forward and back, and back and forward, while events come in", clocksMove: true, on: []kind{onSQLite}, run: setClock},
	{name: "clocks apart", does: "one machine's clock is an hour ahead, one right and one an hour behind, and each is set while events come in", on: []kind{onPostgreSQL}, run: partClocks},
	{name: "no collector", does: "traces and metrics are exported to where nobody listens", on: []kind{onSQLite}, run: collector(nobodyListens)},
	{name: "silent collector", does: "traces and metrics are exported to one that takes connections and never answers", on: []kind{onSQLite}, run: collector(neverAnswers)},
	{name: "poisoned events", does: "the handler that fans an event out panics at some events", on: both, run: poison},
}

// attemptsOut is with how many of them a process is asked to end: some fewer than it may have.
const attemptsOut = 500

// terminate asks a process to end whose attempts wait for their answers, and gives them when it drains. Nothing of them may be let go.
func terminate(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil).prepare()
	for _, tenant := range tenants {
		for i := range 6 {
			s.subscribe(tenant, fmt.Sprint("held", i), true, "visit_report.approved", object{"maxInFlight": 256})
		}
	}
	out, letGo := s.receiver.holding("held")
	t.Cleanup(letGo)
	victim := s.withOut(out)
	victim.signal(syscall.SIGTERM)
	eventually(t, "the drain begins", func() bool { return victim.log.says(`"draining"`) })
	if len(s.slots) > 1 {
		s.emit(batchSize) // which another one takes
	}
	if victim.hasEnded() {
		t.Error("it ended while attempts were out")
	}
	letGo()
	eventually(t, "it ends", victim.hasEnded)
	if code := victim.command.ProcessState.ExitCode(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	for n, slot := range s.slots {
		if slot.Load() == victim {
			s.start(n)
		}
	}
	return s.check().String() // no attempt is let go by who ends in peace
}

// withOut emits until a process has enough attempts out, all of which have come to their receivers and have no answer.
func (s *site) withOut(out *atomic.Int64) (victim *process) {
	s.Helper()
	s.emit(attemptsOut * len(s.slots) / 6) // each has some six deliveries; what is out too long is no more when the last comes
	eventually(s.T, "a process has enough attempts out", func() bool {
		victim = nil
		s.alive(func(_ int, p *process) {
			if n, err := s.metric(p, "ordinavo_attempts_in_flight"); err == nil && n >= attemptsOut {
				victim = p
			}
		})
		if victim == nil {
			s.emit(4 * batchSize)
		}
		return victim != nil || s.Failed()
	})
	eventually(s.T, "they are at their receivers", func() bool {
		sent := 0.0
		s.alive(func(_ int, p *process) {
			n, err := s.metric(p, "ordinavo_attempts_in_flight")
			if err != nil {
				n = math.Inf(1)
			}
			sent += n
		})
		return float64(out.Load()) >= sent
	})
	return victim
}

// holding has the receivers answer, whose paths have the word, when they are let go; out is how many wait for it.
func (r *receiver) holding(word string) (out *atomic.Int64, letGo func()) {
	held := make(chan struct{})
	out = &atomic.Int64{}
	r.answers(func(a arrival) int {
		if strings.Contains(a.path, word) {
			out.Add(1)
			<-held
			out.Add(-1)
		}
		return http.StatusOK
	})
	return out, sync.OnceFunc(func() { close(held) })
}

func setClock(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil).prepare()
	s.clockMoves = true
	s.turnClocks()
	s.alive(func(_ int, p *process) { p.signal(syscall.SIGUSR1) }) // what was put off while they were ahead is due then
	return s.check().String()
}

// partClocks asks for what one clock gives: no attempt begins before it is due, whoever makes it, and each when its process says.
func partClocks(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), func(n int) []string { return []string{"FAULTS_CLOCK=" + []string{"1h", "0", "-1h"}[n]} }).prepare()
	s.turnClocks()
	return s.check().String()
}

// turnClocks sets each process's clock while some of its attempts are out, and some wait to be made again.
func (s *site) turnClocks() {
	s.Helper()
	s.receiver.answers(func(a arrival) int {
		if a.body[0]%8 == 1 {
			<-time.After(dispatch.HeartbeatInterval / 2)
		}
		return []int{http.StatusOK, http.StatusServiceUnavailable}[int(a.body[0])%8/7]
	})
	stop := s.load(100 * time.Millisecond)
	s.alive(func(_ int, p *process) {
		for _, sig := range []syscall.Signal{syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGUSR2, syscall.SIGUSR1}[:inFull(2, 4)] {
			before := s.receiver.count()
			p.signal(sig)
			during(inFull(2*dispatch.HeartbeatInterval, dispatch.HeartbeatTimeout+2*time.Second)) // for the others to take it for dead
			eventually(s.T, "deliveries move", func() bool { return s.receiver.count() >= before+inFull(50, 1000/len(s.slots)) })
		}
	})
	s.receiver.answers(nil)
	stop()
}

// endpoint is where a collector should be, and what shows once that exports were tried and came to nothing.
type endpoint struct {
	url     string
	refused func(*process) bool
}

func nobodyListens(t *testing.T) endpoint {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return endpoint{"http://" + listener.Addr().String(), func(p *process) bool {
		return p.log.says("telemetry is in trouble") && p.log.says("connection refused")
	}}
}

func neverAnswers(t *testing.T) endpoint {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	var asked atomic.Int64
	var accepting sync.WaitGroup
	t.Cleanup(func() {
		_ = listener.Close()
		accepting.Wait()
		for _, conn := range conns {
			_ = conn.Close()
		}
	})
	accepting.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns = append(conns, conn)
			go func() {
				if n, _ := conn.Read(make([]byte, 1)); n > 0 {
					asked.Add(1)
				}
			}()
		}
	})
	return endpoint{"http://" + listener.Addr().String(), func(*process) bool { return asked.Load() >= 2 }} // of traces and of metrics
}

// collector exports often, with room for few spans, and holds every 202 to less than half of the time after which an export is given up
// (OTEL_EXPORTER_OTLP_TIMEOUT, 30 s): who waits for one waits longer.
func collector(place func(*testing.T) endpoint) func(*testing.T, kind) string {
	return func(t *testing.T, k kind) string {
		where := place(t)
		s := open(t, fresh(t, k), nil, "OTEL_EXPORTER_OTLP_ENDPOINT="+where.url, "OTEL_EXPORTER_OTLP_TIMEOUT=30000", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf", "OTEL_METRIC_EXPORT_INTERVAL=200",
			"OTEL_BSP_SCHEDULE_DELAY=100", "OTEL_BSP_MAX_QUEUE_SIZE=32", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE=32").prepare()
		var took []time.Duration
		for range inFull(10, 250) {
			s.emit(2 * batchSize)
			if took = s.took(); took[len(took)-1] > maxBesideCollector {
				t.Fatalf("a 202 came after %s: it waited for the collector", took[len(took)-1])
			}
		}
		eventually(t, "exports come to nothing", func() bool { return where.refused(s.turn(0)) })
		f := s.check()
		return fmt.Sprintf("202 after %.0f ms in the middle, %.0f ms at most; %s", ms(took[len(took)/2]), ms(took[len(took)-1]), f)
	}
}

const maxBesideCollector = 12 * time.Second

// took is how long each batch took to be acknowledged, the fastest first.
func (s *site) took() (all []time.Duration) {
	for _, e := range s.events() {
		all = append(all, e.took)
	}
	slices.Sort(all)
	return all
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// poison emits events whose fan-out panics between others, which flow on. Once it panics no more they are retried.
func poison(t *testing.T, k kind) string {
	marker := filepath.Join(t.TempDir(), "poison")
	if err := os.WriteFile(marker, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, fresh(t, k), nil, "FAULTS_POISON="+marker).prepare()
	var poisoned []accepted
	for range inFull(3, 50) {
		s.emit(20)
		id := newEventID()
		s.client.Transport = traced{s.client.Transport, "00-" + faults.Poison + "-00f067aa0ba902b7-01"}
		s.post("", "/v1/events", visit(tenants[0], id), nil)
		s.client.Transport = s.client.Transport.(traced).RoundTripper
		eventually(t, "it is set aside with its reason", func() bool {
			for _, d := range s.dispositions(accepted{id: id, tenant: tenants[0]}) {
				if strings.Contains(d.Reason, "poisoned event") {
					return true
				}
			}
			return false
		})
		poisoned = append(poisoned, accepted{id: id, tenant: tenants[0], at: time.Now()})
	}
	if err := os.Remove(marker); err != nil {
		t.Fatal(err)
	}
	for _, e := range poisoned {
		s.post(e.tenant, "/v1/events/"+e.id+"/retry", nil, nil)
	}
	s.accepted = append(s.accepted, poisoned...)
	return fmt.Sprintf("%d set aside, with the reason shown, and then retried; %s", len(poisoned), s.check())
}

// traced adds a trace context to each request.
type traced struct {
	http.RoundTripper
	parent string
}

func (t traced) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("traceparent", t.parent)
	return t.RoundTripper.RoundTrip(r)
}
