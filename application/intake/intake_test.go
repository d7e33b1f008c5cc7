package intake_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// memory is a Store that keeps what is appended when the transaction ends well.
type memory struct {
	events  map[intake.EventKey]intake.Accepted
	tenants map[tenant.ID]bool

	transactions, lookups int
	commits               [][]intake.Accepted
	staged                []intake.Accepted
	inTx                  bool
	begins                func() // while the next transaction waits to begin
	failBegin             error
	failCommit, failRead  error
	failAppend, failDay   error
	failDayAt             int // the count of a day in a transaction that fails
	counts                int // of days in the transaction

	days     map[tenant.ID]int // of the one day that there is
	day      time.Time
	undo     map[tenant.ID]int
	open     map[tenant.ID]int
	counted  []tenant.ID
	perEvent map[tenant.ID]float64
	weighed  int       // how often it was asked what events come to
	lookedAt time.Time // for processes
	others   int       // processes
	unrouted time.Time
	waiting  map[tenant.ID]time.Time
	later    time.Duration // than the bubble\'s clock it is
}

func (m *memory) now() time.Time { return time.Now().Add(m.later) }

func (m *memory) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	m.transactions++
	if begins := m.begins; begins != nil {
		m.begins = nil
		begins()
	}
	if m.failBegin != nil {
		return m.failBegin
	}
	m.staged, m.undo, m.inTx, m.counts = nil, maps.Clone(m.days), true, 0
	defer func() { m.inTx = false }()
	if err := errors.Join(fn(ctx), m.failCommit); err != nil {
		m.days = m.undo
		return err
	}
	if len(m.staged) > 0 {
		m.commits = append(m.commits, m.staged)
	}
	for _, a := range m.staged {
		m.events[a.Key()] = intake.Accepted{Event: a.Event, Fingerprint: a.Fingerprint, TraceParent: a.TraceParent, At: a.At}
	}
	return nil
}

func (m *memory) Known(_ context.Context, keys []intake.EventKey) (intake.Known, error) {
	m.lookups++
	known := intake.Known{Fingerprints: map[intake.EventKey][32]byte{}, Tenants: map[tenant.ID]bool{}}
	for _, key := range keys {
		known.Tenants[key.Tenant] = m.tenants[key.Tenant]
		if a, ok := m.events[key]; ok {
			known.Fingerprints[key] = a.Fingerprint
		}
	}
	return known, m.failRead
}

func (m *memory) AppendEvents(_ context.Context, events []intake.Accepted) error {
	m.staged = append(m.staged, events...)
	return m.failAppend
}

// counts is an Observer.
type counts struct {
	accepted   map[event.Type]int
	duplicates int
	refused    map[intake.Reason]int
}

func (c *counts) EventsAccepted(_ context.Context, accepted []event.Type, duplicates int) {
	for _, t := range accepted {
		c.accepted[t]++
	}
	c.duplicates += duplicates
}

func (c *counts) EventsRefused(_ context.Context, why intake.Reason, events int) {
	c.refused[why] += events
}

type world struct {
	*testing.T
	*intake.Intake
	backlog *intake.Backlog
	keep    intake.Keep // of requests to come
	store   *memory
	seen    *counts
	ids     int
}

// within runs the test in a bubble of fake time, so that it can wait until everybody waits.
func within(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, store: &memory{events: map[intake.EventKey]intake.Accepted{}, tenants: map[tenant.ID]bool{"acme": true, "other": true}},
			seen: &counts{accepted: map[event.Type]int{}, refused: map[intake.Reason]int{}}}
		w.open(intake.Limits{})
		test(w)
	})
}

// open begins with these limits.
func (w *world) open(limits intake.Limits) {
	w.backlog = intake.NewBacklog(w.store, limits, w.store.now)
	w.Intake = intake.New(intake.Config{Store: w.store, Quotas: w.store, Limits: limits, Backlog: w.backlog, Observer: w.seen, Now: w.store.now,
		NewID: func(prefix string) string { w.ids++; return fmt.Sprintf("%s%d", prefix, w.ids) }})
}

// answer is what a caller of Accept gets.
type answer struct {
	results []intake.Result
	err     error
}

// submit calls Accept, and returns once the request waits for its commit, or has its answer.
func (w *world) submit(ctx context.Context, events ...event.Event) <-chan answer {
	got := make(chan answer, 1)
	go func() {
		results, err := w.Accept(ctx, events, "00-trace", w.keep)
		got <- answer{results, err}
	}()
	synctest.Wait()
	return got
}

func (w *world) step() time.Time {
	w.Helper()
	next, err := w.Step(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return next
}

// one accepts a request of its own commit.
func (w *world) one(events ...event.Event) answer {
	w.Helper()
	got := w.submit(w.Context(), events...)
	w.step()
	return <-got
}

func sample(owner tenant.ID, id, title string) event.Event {
	e := event.Sample(event.VisitReportApproved, owner)
	e.ID, e.Target.Title = id, &title
	return e
}

func duplicates(results []intake.Result) (flags []bool) {
	for _, r := range results {
		flags = append(flags, r.Duplicate)
	}
	return flags
}

func wantFields(t *testing.T, err error, code problem.Code, paths ...string) {
	t.Helper()
	var p *problem.Error
	if !errors.As(err, &p) || p.Code != code || !slices.Equal(slices.Sorted(maps.Keys(p.Fields)), paths) {
		t.Errorf("got %v, want %s of %v", err, code, paths)
	}
}

func TestRequestsThatWaitShareATransaction(t *testing.T) {
	within(t, func(w *world) {
		var waiting []<-chan answer
		for i := range 50 {
			waiting = append(waiting, w.submit(w.Context(), sample("acme", fmt.Sprintf("evt_%d", i), "a")))
		}
		if next := w.step(); !next.Equal(time.Now()) {
			t.Errorf("wants to be called next at %s, not at once", next)
		}
		for i, got := range waiting {
			if a := <-got; a.err != nil || len(a.results) != 1 || a.results[0] != (intake.Result{EventID: fmt.Sprintf("evt_%d", i)}) {
				t.Errorf("request %d: %+v", i, a)
			}
		}
		if w.store.transactions != 1 || w.store.lookups != 1 || len(w.store.commits) != 1 || len(w.store.commits[0]) != 50 {
			t.Errorf("%d transactions, %d look-ups, %d commits", w.store.transactions, w.store.lookups, len(w.store.commits))
		}
		if w.seen.accepted[event.VisitReportApproved] != 50 || w.seen.duplicates != 0 {
			t.Errorf("observed %+v", w.seen)
		}
	})
}

func TestWhoComesWhileACommitWaitsToBeginJoinsIt(t *testing.T) {
	within(t, func(w *world) {
		first, late := w.submit(w.Context(), sample("acme", "evt_1", "a")), (<-chan answer)(nil)
		w.store.begins = func() { late = w.submit(w.Context(), sample("acme", "evt_2", "a")) }
		w.step()
		if a, b := <-first, <-late; a.err != nil || b.err != nil || w.store.transactions != 1 || len(w.store.events) != 2 {
			t.Errorf("%v and %v in %d transactions", a.err, b.err, w.store.transactions)
		}
	})
}

func TestACommitIsBounded(t *testing.T) {
	within(t, func(w *world) {
		var waiting []<-chan answer
		for i := range 5 {
			events := make([]event.Event, 1000)
			for j := range events {
				events[j] = sample("acme", fmt.Sprintf("evt_%d_%d", i, j), "a")
			}
			waiting = append(waiting, w.submit(w.Context(), events...))
		}
		for range 3 {
			w.step()
		}
		for _, got := range waiting {
			if a := <-got; a.err != nil {
				t.Fatal(a.err)
			}
		}
		for _, commit := range w.store.commits {
			if len(commit) > 2000 {
				t.Errorf("%d events in one commit", len(commit))
			}
		}
	})
}

func TestWhatIsAcceptedCarriesTimeTraceAndAnID(t *testing.T) {
	within(t, func(w *world) {
		got := w.one(sample("acme", "", "a"), sample("acme", "", "a"))
		if got.err != nil || len(got.results) != 2 || got.results[0].EventID != "evt_1" || got.results[1].EventID != "evt_2" {
			t.Fatalf("%+v", got)
		}
		a := w.store.events[intake.EventKey{Tenant: "acme", ID: "evt_2"}]
		if a.TraceParent != "00-trace" || !a.At.Equal(time.Now()) || a.ID != "evt_2" {
			t.Errorf("kept %+v", a)
		}
	})
}

func TestDuplicates(t *testing.T) {
	a, other := sample("acme", "evt_a", "a"), sample("other", "evt_a", "another tenant's")
	within(t, func(w *world) { // inside a request, and across commits
		if got := w.one(a, a, other); got.err != nil || !slices.Equal(duplicates(got.results), []bool{false, true, false}) {
			t.Errorf("inside a request: %+v", got)
		}
		if got := w.one(other, a); got.err != nil || !slices.Equal(duplicates(got.results), []bool{true, true}) {
			t.Errorf("in a later commit: %+v", got)
		}
		if len(w.store.commits) != 1 || w.seen.duplicates != 3 {
			t.Errorf("%d commits, observed %+v", len(w.store.commits), w.seen)
		}
	})
	within(t, func(w *world) { // across the requests of a group
		first, second := w.submit(w.Context(), a), w.submit(w.Context(), other, a)
		w.step()
		if got := <-first; got.err != nil || !slices.Equal(duplicates(got.results), []bool{false}) {
			t.Errorf("the first of a group: %+v", got)
		}
		if got := <-second; got.err != nil || !slices.Equal(duplicates(got.results), []bool{false, true}) {
			t.Errorf("the second of a group: %+v", got)
		}
		if len(w.store.commits[0]) != 2 {
			t.Errorf("stored %d events", len(w.store.commits[0]))
		}
	})
}

func TestARequestIsRefusedWhole(t *testing.T) {
	good, nobody := sample("acme", "evt_good", "a"), sample("nobody", "evt_x", "a")
	within(t, func(w *world) {
		bad, fine := w.submit(w.Context(), good, nobody, nobody), w.submit(w.Context(), good)
		w.step()
		wantFields(t, (<-bad).err, problem.ValidationFailed, "events[1].tenantId", "events[2].tenantId")
		if got := <-fine; got.err != nil || got.results[0].Duplicate {
			t.Errorf("a refused request left its event behind: %+v", got)
		}
		wantFields(t, w.one(sample("acme", "evt_new", "a"), sample("acme", "evt_good", "other content")).err, problem.IdempotencyConflict, "events[1].eventId")
		wantFields(t, w.one(sample("acme", "evt_2", "a"), sample("acme", "evt_2", "b")).err, problem.IdempotencyConflict, "events[1].eventId")
		if len(w.store.events) != 1 {
			t.Errorf("%d events were stored", len(w.store.events))
		}
	})
	within(t, func(w *world) { // by an earlier request of the same group
		first, second := w.submit(w.Context(), good), w.submit(w.Context(), sample("acme", "evt_good", "other content"))
		w.step()
		if got := <-first; got.err != nil {
			t.Error(got.err)
		}
		wantFields(t, (<-second).err, problem.IdempotencyConflict, "events[0].eventId")
	})
}

func TestAFailingTransactionAcceptsNothing(t *testing.T) {
	broken := errors.New("disk is full")
	for name, fail := range map[string]func(*memory, error){
		"commit":            func(m *memory, err error) { m.failCommit = err },
		"read":              func(m *memory, err error) { m.failRead = err },
		"append":            func(m *memory, err error) { m.failAppend = err },
		"look at the day":   func(m *memory, err error) { m.failDay, m.failDayAt = err, 1 },
		"count for the day": func(m *memory, err error) { m.failDay, m.failDayAt = err, 2 },
	} {
		t.Run(name, func(t *testing.T) {
			within(t, func(w *world) {
				w.open(intake.Limits{EventsPerDay: 10})
				fail(w.store, broken)
				first, second := w.submit(w.Context(), sample("acme", "evt_1", "a")), w.submit(w.Context(), sample("acme", "evt_2", "a"))
				w.step()
				for _, got := range []answer{<-first, <-second} {
					if !errors.Is(got.err, broken) {
						t.Errorf("answered %+v", got)
					}
				}
				if len(w.seen.accepted) > 0 {
					t.Errorf("observed %+v", w.seen)
				}
				fail(w.store, nil)
				if got := w.one(sample("acme", "evt_1", "a")); got.err != nil || got.results[0].Duplicate {
					t.Errorf("once it is mended: %+v", got)
				}
			})
		})
	}
}

func TestAFullQueueIsUnavailable(t *testing.T) {
	within(t, func(w *world) {
		ctx, cancel := context.WithCancel(w.Context())
		defer cancel()
		for i := range 4096 {
			go func() {
				_, _ = w.Accept(ctx, []event.Event{sample([]tenant.ID{"acme", "other"}[i%2], fmt.Sprintf("evt_%d", i), "a")}, "", nil)
			}()
		}
		synctest.Wait()
		if got := <-w.submit(ctx, sample("acme", "evt_last", "a")); !problem.Is(got.err, problem.Unavailable) {
			t.Errorf("got %+v", got)
		}
		w.step() // makes room
		waits := w.submit(ctx, sample("acme", "evt_last", "a"))
		for len(waits) == 0 {
			w.step()
			synctest.Wait()
		}
		if got := <-waits; got.err != nil || got.results[0].Duplicate {
			t.Errorf("with room again: %+v", got)
		}
	})
}

// The answer is written with the events, of each request that is accepted, or nothing is.
func TestTheAnswerIsKeptInTheTransaction(t *testing.T) {
	within(t, func(w *world) {
		var kept [][]intake.Result
		failed, fail := errors.New("no"), error(nil)
		w.keep = func(_ context.Context, results []intake.Result) error {
			if !w.store.inTx || len(w.store.events) > len(kept) {
				t.Error("not in the transaction of the events")
			}
			kept = append(kept, results)
			return fail
		}
		refused := w.submit(w.Context(), sample("nobody", "evt_0", "a"))
		got := w.submit(w.Context(), sample("acme", "evt_1", "a"))
		w.step()
		if a := <-got; a.err != nil || len(kept) != 1 || !slices.Equal(kept[0], a.results) || (<-refused).err == nil {
			t.Errorf("kept %v of %v", kept, a)
		}
		fail = failed
		if got := w.one(sample("acme", "evt_2", "a")); !errors.Is(got.err, failed) || len(w.store.events) != 1 {
			t.Errorf("got %+v with %d events", got, len(w.store.events))
		}
	})
}

// A request that was given up is not accepted, and its events are no duplicates to the request that came in its place.
func TestARequestThatWasGivenUpIsRefusedAlone(t *testing.T) {
	within(t, func(w *world) {
		w.keep = func(context.Context, []intake.Result) error { return problem.New(problem.Conflict, "given up") }
		givenUp := w.submit(w.Context(), sample("acme", "evt_1", "a"))
		w.keep = nil
		again := w.submit(w.Context(), sample("acme", "evt_1", "a"))
		other := w.submit(w.Context(), sample("acme", "evt_2", "a"))
		w.step()
		if a := <-givenUp; !problem.Is(a.err, problem.Conflict) {
			t.Errorf("given up: %+v", a)
		}
		if a := <-again; a.err != nil || a.results[0].Duplicate {
			t.Errorf("again: %+v", a)
		}
		if a := <-other; a.err != nil || len(w.store.events) != 2 || w.store.transactions != 1 {
			t.Errorf("another: %+v with %d events in %d transactions", a, len(w.store.events), w.store.transactions)
		}
	})
}

func TestAnEmptyQueueIsLeftAlone(t *testing.T) {
	within(t, func(w *world) {
		if next := w.step(); !next.IsZero() || w.store.transactions != 0 {
			t.Errorf("next %s after %d transactions", next, w.store.transactions)
		}
		got := w.submit(w.Context(), sample("acme", "evt_1", "a"))
		select {
		case <-w.Loop().Wake:
		default:
			t.Error("a request does not wake the loop")
		}
		w.step()
		<-got
	})
}

// TestAGroupIsAsIfOneCameAfterTheOther holds groups against a model that takes one request at a time.
func TestAGroupIsAsIfOneCameAfterTheOther(t *testing.T) {
	within(t, func(w *world) {
		rapid.Check(t, func(rt *rapid.T) {
			clear(w.store.events)
			model := map[intake.EventKey]string{}
			for range rapid.IntRange(1, 4).Draw(rt, "groups") {
				var waiting []<-chan answer
				var wanted []answer
				for range rapid.IntRange(1, 5).Draw(rt, "requests") {
					request := rapid.SliceOfN(rapid.Custom(drawEvent), 1, 4).Draw(rt, "request")
					wanted = append(wanted, modelled(model, request))
					waiting = append(waiting, w.submit(w.Context(), request...))
				}
				w.step()
				for i, got := range waiting {
					a := <-got
					if (a.err != nil) != (wanted[i].err != nil) || !slices.Equal(a.results, wanted[i].results) {
						rt.Fatalf("request %d got %+v, want %+v", i, a, wanted[i])
					}
				}
			}
			if len(w.store.events) != len(model) {
				rt.Fatalf("%d events are stored, want %d", len(w.store.events), len(model))
			}
		})
	})
}

func drawEvent(rt *rapid.T) event.Event {
	owner := rapid.SampledFrom([]tenant.ID{"acme", "acme", "other", "nobody"}).Draw(rt, "tenant")
	return sample(owner, rapid.SampledFrom([]string{"evt_1", "evt_2", "evt_3"}).Draw(rt, "id"), rapid.SampledFrom([]string{"a", "a", "b"}).Draw(rt, "content"))
}

// modelled takes the request whole or not at all.
func modelled(known map[intake.EventKey]string, request []event.Event) answer {
	next := maps.Clone(known)
	var results []intake.Result
	for _, e := range request {
		key := intake.EventKey{Tenant: e.TenantID, ID: e.ID}
		content, duplicate := next[key]
		if e.TenantID == "nobody" || duplicate && content != *e.Target.Title {
			return answer{err: errors.New("refused")}
		}
		next[key] = *e.Target.Title
		results = append(results, intake.Result{EventID: e.ID, Duplicate: duplicate})
	}
	maps.Copy(known, next)
	return answer{results: results}
}
