package faults_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
)

// object is JSON as a caller would write it.
type object = map[string]any

// slot is the place of one process; who is in it changes when it is killed.
type slot struct {
	atomic.Pointer[process]            // nil while a new one is being started
	filling                 sync.Mutex // held by who starts one: on SQLite a second one would find the database in use
}

// site is a service under test: its processes on their database, two tenants with subscriptions, and their receiver.
type site struct {
	*testing.T
	database
	env        []string // of each process, besides the usual
	roles      []string // of the processes, in their order; empty when each does everything
	receiver   *receiver
	slots      []*slot
	client     *http.Client
	subs       []subscription
	clockMoves bool // times of the service are no order
	opened     time.Time
	binary     string

	mu       sync.Mutex
	accepted []accepted
	troubles []trouble
	restarts int
	diedAt   map[string]int
	again    func() []string // the variables of a process that is started again; nil when none is
	halting  atomic.Bool
	refusals atomic.Int64   // answers that said to come again
	idle     float64        // goroutines of a process that has done nothing yet
	many     map[string]int // deliveries that each tenant's events came to, where no more than samples of them are accepted above
	watchers sync.WaitGroup
}

// subscription is one of a tenant's, with what it should get.
type subscription struct {
	ID, Secret   string
	tenant, path string
	wants        bool // the events that are emitted here
}

// accepted is an event that was acknowledged.
type accepted struct {
	id, tenant string
	at         time.Time
	took       time.Duration // from the first try to the 202
}

var tenants = []string{"acme", "other"}

// open starts a service on the database; first, which may be nil, gives each process its own variables.
func open(t *testing.T, d database, first func(n int) []string, env ...string) *site {
	t.Helper()
	return openAs(t, d, nil, first, env...)
}

// openAs starts a service whose processes have a part of the work each.
func openAs(t *testing.T, d database, roles []string, first func(n int) []string, env ...string) *site {
	t.Helper()
	s := &site{T: t, database: d, opened: time.Now(), diedAt: map[string]int{}, env: env, roles: roles, binary: binary, receiver: receive(t), client: &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 32}}}
	t.Cleanup(s.end)
	for range d.processes {
		s.slots = append(s.slots, &slot{})
	}
	if first == nil {
		first = func(int) []string { return nil }
	}
	s.start(0, first(0)...)
	var starting sync.WaitGroup
	errs := make([]error, d.processes)
	for n := range s.slots[1:] {
		starting.Go(func() { _, errs[n+1] = s.fill(n+1, first(n+1)) })
	}
	starting.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	s.alive(func(_ int, p *process) { s.ready(p) })
	return s
}

// prepare makes the tenants and subscriptions.
func (s *site) prepare() *site {
	s.Helper()
	for _, id := range tenants {
		s.tenant(id)
		s.subscribe(id, "all", true, "visit_report.*", nil)
	}
	s.subscribe("acme", "too", true, "visit_report.approved", nil)
	s.subscribe("acme", "never", false, "target.imported", nil)
	s.noteIdle()
	return s
}

// tenant makes one whose directory has its mark on the customer of all events.
func (s *site) tenant(id string) {
	s.Helper()
	own := mark(id)
	s.post("", "/v1/tenants", object{"tenantId": id, "name": id}, nil)
	s.post(id, "/v1/directory", object{"customers": []object{{"ordinavoCustomerId": customer, "customerNumber": own, "name": own}},
		"externalIds": []object{{"sourceSystem": "sap", "entityType": "customer", "ordinavoId": customer, "externalId": own}}}, nil)
}

// customer is the ID of one customer in each tenant.
const customer = 12

// mark is in whatever is the tenant's alone.
func mark(tenant string) string { return "of " + tenant }

func (s *site) subscribe(tenant, name string, wants bool, types string, more object) subscription {
	s.Helper()
	sub := subscription{tenant: tenant, path: "/" + tenant + "/" + name, wants: wants}
	settings := object{"name": name, "url": s.receiver.url + sub.path, "eventTypes": []string{types}, "sourceSystem": "sap", "maxInFlight": 64, "timeoutSeconds": 30}
	for key, value := range more {
		settings[key] = value
	}
	s.post(tenant, "/v1/subscriptions", settings, &sub)
	s.subs = append(s.subs, sub)
	return sub
}

// watched starts processes again that die, each with the variables that again gives it.
func (s *site) watched(again func() []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.again = again
}

// killed is how many processes died and were started again.
func (s *site) killed() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.restarts
}

// start fills a slot with a new process, in the place of the one that is there, and waits until it can work.
func (s *site) start(n int, more ...string) *process {
	s.Helper()
	p, err := s.fill(n, more)
	if err != nil {
		s.Fatal(err)
	}
	s.ready(p)
	return p
}

func (s *site) ready(p *process) {
	s.Helper()
	eventually(s.T, "a process is ready", func() bool { return p.hasEnded() || s.probe(p, "/readyz") == http.StatusOK })
}

func (s *site) fill(n int, more []string) (*process, error) {
	s.slots[n].filling.Lock()
	defer s.slots[n].filling.Unlock()
	s.empty(n)
	p, err := launch(s.binary, s.environment(n, more))
	if err == nil {
		s.adopt(n, p)
	}
	return p, err
}

func (s *site) environment(n int, more []string) []string {
	more = slices.Concat(s.env, more)
	if n < len(s.roles) {
		more = append(more, "ORDINAVO_ROLES="+s.roles[n])
	}
	return environment(s.database, more...)
}

func (s *site) empty(n int) {
	if before := s.slots[n].Swap(nil); before != nil {
		before.kill()
	}
}

// adopt puts a process into its slot, and watches over it.
func (s *site) adopt(n int, p *process) {
	s.slots[n].Store(p)
	s.watchers.Go(func() {
		<-p.ended
		s.died(p)
		if err := p.log.trouble(); err != nil {
			s.Error(err)
		}
		s.replace(n, p)
	})
}

// replace starts a process in the place of one that has ended, if it is to be and nobody has done so.
func (s *site) replace(n int, ended *process) {
	s.slots[n].filling.Lock()
	defer s.slots[n].filling.Unlock()
	s.mu.Lock()
	again := s.again
	s.mu.Unlock()
	if again == nil || s.halting.Load() || !s.slots[n].CompareAndSwap(ended, nil) {
		return
	}
	next, err := launch(s.binary, s.environment(n, again()))
	if next == nil {
		s.Errorf("start again: %v", err)
		return
	}
	if err != nil && !strings.Contains(err.Error(), "signal: killed") {
		s.Errorf("start again: %v", err)
	}
	s.mu.Lock()
	s.restarts++
	s.mu.Unlock()
	s.adopt(n, next)
	if s.halting.Load() {
		next.kill()
	}
}

func (s *site) end() {
	s.halting.Store(true)
	s.alive(func(_ int, p *process) { p.signal(syscall.SIGCONT); p.kill() })
	s.watchers.Wait()
	if s.Failed() {
		s.alive(func(n int, p *process) { s.Logf("process %d:\n%s", n, tail(p.log.String(), 40)) })
	}
}

// alive calls fn for each process that is in its place.
func (s *site) alive(fn func(n int, p *process)) {
	for n, slot := range s.slots {
		if p := slot.Load(); p != nil {
			fn(n, p)
		}
	}
}

// kill ends the process in the slot, once one is there: its watcher may be starting it.
func (s *site) kill(n int) {
	s.Helper()
	var p *process
	eventually(s.T, "a process is there to be killed", func() bool { p = s.slots[n].Load(); return p != nil })
	p.kill()
}

// turn is the process whose turn it is of those that have the API; nil while it is being started again.
func (s *site) turn(n int) *process {
	asked := s.slots
	if len(s.roles) > 0 {
		asked = nil
		for i, roles := range s.roles {
			if strings.Contains(roles, "api") {
				asked = append(asked, s.slots[i])
			}
		}
	}
	return asked[n%len(asked)].Load()
}

func tail(text string, lines int) string {
	all := strings.Split(text, "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (s *site) probe(p *process, path string) int {
	answer, err := s.client.Get(p.url + path)
	if err != nil {
		return 0
	}
	defer func() { _ = answer.Body.Close() }()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

var errNobody = errors.New("the process is being started again")

// call asks one of the processes once, if it is in its place.
func (s *site) call(ctx context.Context, p *process, tenant, method, path string, body any) (int, http.Header, []byte, error) {
	if p == nil {
		return 0, nil, nil, errNobody
	}
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, p.url+path, content)
	if err != nil {
		return 0, nil, nil, err
	}
	request.Header.Set("Authorization", "Bearer "+platformKey)
	request.Header.Set("X-Ordinavo-Tenant", tenant)
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	answer, err := s.client.Do(request)
	if err != nil {
		return 0, nil, nil, err
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, answer.Header, text, err
}

// any asks the processes in turn until one has answered; a 503 is no answer.
func (s *site) any(tenant, method, path string, body any) (status int, text []byte, err error) {
	turn := 0
	err = poll(patience, func() bool {
		var tried error
		status, _, text, tried = s.call(context.Background(), s.turn(turn), tenant, method, path, body)
		turn++
		return tried == nil && status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests
	})
	return status, text, err
}

func (s *site) post(tenant, path string, body, into any) {
	s.Helper()
	s.want(tenant, http.MethodPost, path, body, into)
}

func (s *site) get(tenant, path string, into any) {
	s.Helper()
	s.want(tenant, http.MethodGet, path, nil, into)
}

func (s *site) want(tenant, method, path string, body, into any) {
	s.Helper()
	status, text, err := s.any(tenant, method, path, body)
	if err == nil && status >= http.StatusBadRequest {
		err = fmt.Errorf("%d: %s", status, text)
	}
	if err == nil && into != nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		s.Fatalf("%s %s: %v", method, path, err)
	}
}

// visit is an event that the subscriptions want.
func visit(tenant, id string) object {
	return object{"eventId": id, "eventType": "visit_report.approved", "occurredAt": "2026-06-18T16:40:00Z", "tenantId": tenant, "customerId": customer,
		"visitReport": object{"id": 901, "title": mark(tenant), "status": "Approved", "result": "Successful", "summary": "All well."}}
}

func newEventIDs(n int) (ids []string) {
	for range n {
		ids = append(ids, newEventID())
	}
	return ids
}

func newEventID() string { return "evt_" + ulid.MustNew(ulid.Now(), rand.Reader).String() }

// batchSize is how many events a request of emit brings.
const batchSize = 10

// emit sends n events in batches from several workers, each batch again until it is acknowledged, as a product
// service does.
func (s *site) emit(n int) {
	s.Helper()
	var workers sync.WaitGroup
	batches := make(chan int, n/batchSize+1)
	for i := range n / batchSize {
		batches <- i
	}
	close(batches)
	for w := range 4 {
		workers.Go(func() {
			for i := range batches {
				if err := s.emitBatch(tenants[i%len(tenants)], batchSize, w+i); err != nil {
					s.Errorf("a batch was never acknowledged: %v", err)
				}
			}
		})
	}
	workers.Wait()
}

// emitWhile emits until stop is closed, and returns when the last batch is acknowledged.
func (s *site) emitWhile(stop <-chan struct{}, every time.Duration) {
	pace := time.NewTicker(every)
	defer pace.Stop()
	var workers sync.WaitGroup
	defer workers.Wait()
	places := make(chan struct{}, 16)
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		case <-pace.C:
			places <- struct{}{}
			workers.Go(func() {
				defer func() { <-places }()
				if err := s.emitBatch(tenants[i%len(tenants)], batchSize, i); err != nil && !s.halting.Load() {
					s.Errorf("a batch was never acknowledged: %v", err)
				}
			})
		}
	}
}

func (s *site) emitBatch(tenant string, n, turn int) error {
	return s.emitThese(tenant, newEventIDs(n), func(try int) *process { return s.turn(turn + try) })
}

// emitThese sends events in one request, again and again until it is acknowledged, each time to the process that to says.
func (s *site) emitThese(tenant string, ids []string, to func(try int) *process) error {
	events, try := make([]object, len(ids)), 0
	for i, id := range ids {
		events[i] = visit(tenant, id)
	}
	began := time.Now()
	err := poll(patience, func() bool {
		if s.halting.Load() {
			return true
		}
		status, header, text, err := s.call(context.Background(), to(try), tenant, http.MethodPost, "/v1/events", object{"events": events})
		try++
		if err == nil && status != http.StatusAccepted {
			err = s.excuse(status, header, text)
			if err != nil {
				s.Error(err)
			}
			return false
		}
		return err == nil
	})
	if err != nil || s.halting.Load() {
		return err
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		s.accepted = append(s.accepted, accepted{id, tenant, now, now.Sub(began)})
	}
	return nil
}

// excuse is nil for what a service in trouble may say: that it is unavailable, and when to come again.
func (s *site) excuse(status int, header http.Header, text []byte) error {
	if (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) && header.Get("Retry-After") != "" && strings.Contains(string(text), `"code"`) {
		s.refusals.Add(1)
		return nil
	}
	return fmt.Errorf("got %d, Retry-After %q: %s", status, header.Get("Retry-After"), text)
}

func (s *site) events() []accepted {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]accepted(nil), s.accepted...)
}

// metric is the sum of a metric's values in a process.
func (s *site) metric(p *process, name string) (sum float64, err error) {
	_, _, text, err := s.call(context.Background(), p, "", http.MethodGet, "/metrics", nil)
	if err != nil {
		return 0, err
	}
	found := false
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok && (strings.HasPrefix(rest, " ") || strings.HasPrefix(rest, "{")) {
			var value float64
			if _, err := fmt.Sscan(rest[strings.LastIndexByte(rest, ' ')+1:], &value); err == nil {
				sum, found = sum+value, true
			}
		}
	}
	if !found {
		return 0, errors.New("no metric " + name)
	}
	return sum, nil
}
