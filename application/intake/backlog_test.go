package intake_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// CountOpen is intake.BacklogStore. It takes time, as counting does.
func (m *memory) CountOpen(_ context.Context, owner tenant.ID, upTo int) (int, error) {
	m.counted = append(m.counted, owner)
	m.later += time.Duration(min(m.open[owner], upTo)) * time.Millisecond
	return min(m.open[owner], upTo), nil
}

// OldestUnrouted is intake.BacklogStore.
func (m *memory) OldestUnrouted(context.Context) (time.Time, error) { return m.unrouted, nil }

// WaitingFrom is intake.BacklogStore.
func (m *memory) WaitingFrom(context.Context) (map[tenant.ID]time.Time, error) { return m.waiting, nil }

// DeliveriesPerEvent is intake.BacklogStore; it is one for whom nothing else is said.
func (m *memory) DeliveriesPerEvent(_ context.Context, owners []tenant.ID) (map[tenant.ID]float64, error) {
	found := map[tenant.ID]float64{}
	m.weighed++
	for _, owner := range owners {
		found[owner] = 1
		if n, said := m.perEvent[owner]; said {
			found[owner] = n
		}
	}
	return found, nil
}

// CountProcesses is intake.BacklogStore.
func (m *memory) CountProcesses(_ context.Context, since time.Time) (int, error) {
	m.lookedAt = since
	return 1 + m.others, nil
}

// looks steps, and returns for when the next step is wanted.
func (w *world) looks() (next time.Duration) {
	w.Helper()
	at, err := w.backlog.Step(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return at.Sub(w.store.now())
}

// after steps once so much time has passed.
func (w *world) after(d time.Duration) {
	w.Helper()
	w.store.later += d
	w.looks()
}

// accepts wants n events of the tenant to be accepted.
func (w *world) accepts(owner tenant.ID, n int) {
	w.Helper()
	w.ids++
	if got := w.one(many(owner, fmt.Sprint(w.ids), n)...); got.err != nil {
		w.Errorf("%d events of %s: %v", n, owner, got.err)
	}
}

// isAsked says whether the loop was woken since it was last asked.
func (w *world) isAsked() bool {
	select {
	case <-w.backlog.Loop().Wake:
		return true
	default:
		return false
	}
}

// unroutedFromNow makes whatever is accepted from now on wait for fan-out.
func (w *world) unroutedFromNow() { w.store.unrouted = w.store.now() }

func (w *world) refuses(owner tenant.ID, code problem.Code, after time.Duration, why intake.Reason, words string) {
	w.Helper()
	w.ids++
	w.wantRefused(w.one(many(owner, fmt.Sprint(w.ids), 1)...), code, after, why, words)
}

func TestAFullQueueOfATenant(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{TenantOpen: 10})
		full := func(after time.Duration) {
			w.Helper()
			w.refuses("acme", problem.RateLimited, after, intake.ReasonTenantOpen, "acme may have 10 deliveries that are not finished, those parked for paused and disabled subscriptions included")
		}
		w.store.open = map[tenant.ID]int{"acme": 10, "other": 7}
		w.accepts("acme", 1)
		w.accepts("other", 1)
		w.looks()
		full(30 * time.Second)
		w.wantRefused(w.one(append(many("other", "b", 1), many("acme", "b", 1)...)...), problem.RateLimited, 30*time.Second, intake.ReasonTenantOpen, "acme")
		w.accepts("other", 1)
		w.after(time.Minute) // nothing was accepted since: it is full still
		full(30 * time.Second)
		w.store.open["acme"] = 9
		w.after(time.Minute)
		w.accepts("acme", 1)
		full(time.Second) // one was free, and is taken
		w.after(time.Minute)
		w.accepts("acme", 1)
	})
}

func TestOnlyWhatMayBeFullIsCounted(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{TenantOpen: 100})
		w.accepts("acme", 1)
		w.accepts("other", 1)
		w.looks()
		w.store.counted = nil
		w.accepts("acme", 12)
		w.after(time.Second)
		w.accepts("acme", 1)
		w.accepts("other", 12)
		w.after(time.Second)
		if !slices.Equal(w.store.counted, []tenant.ID{"acme"}) {
			t.Errorf("counted %q: the other has used little of what was free", w.store.counted)
		}
		w.after(time.Minute)
		if !slices.Equal(w.store.counted, []tenant.ID{"acme", "other"}) {
			t.Errorf("counted %q: what the other took is forgotten after a while", w.store.counted)
		}
		w.after(time.Minute)
		if len(w.store.counted) != 2 {
			t.Errorf("counted %q, and nobody has emitted", w.store.counted)
		}
	})
}

func TestAFullQueueOfAll(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{Open: 100})
		w.store.open = map[tenant.ID]int{"": 100}
		w.accepts("acme", 1) // nobody has looked yet
		w.looks()
		w.refuses("acme", problem.Unavailable, 30*time.Second, intake.ReasonOpen, "not finished")
		w.after(time.Second)
		if len(w.store.counted) != 1 { // counting took 100 ms, so the next count comes after 5 s
			t.Errorf("counted %d times", len(w.store.counted))
		}
		w.store.open[""] = 99
		w.after(5 * time.Second)
		w.accepts("acme", 1)
		w.refuses("acme", problem.Unavailable, time.Second, intake.ReasonOpen, "not finished")
	})
}

// What is not fanned out is no open delivery yet, and takes the room of those that it comes to.
func TestWhatWaitsForFanOutTakesRoom(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{Open: 100})
		w.store.perEvent = map[tenant.ID]float64{"acme": 4}
		w.accepts("acme", 1)
		w.looks() // now it is known what its events come to
		w.unroutedFromNow()
		w.accepts("acme", 20)
		w.after(time.Second)
		w.accepts("acme", 5) // 100 deliveries with those
		w.after(time.Second)
		w.refuses("acme", problem.Unavailable, time.Second, intake.ReasonOpen, "not finished")
		w.store.unrouted = w.store.now().Add(-time.Second) // the first 20 are fanned out by now
		w.store.open = map[tenant.ID]int{"": 78}           // and two are delivered
		w.after(time.Second)
		w.accepts("acme", 1)
		w.refuses("acme", problem.Unavailable, time.Second, intake.ReasonOpen, "not finished")
		w.store.unrouted, w.store.open = time.Time{}, nil
		w.after(10 * time.Second)
		w.accepts("acme", 25)
	})
}

// Requests that wait for their commit take room already.
func TestWhatWaitsForItsCommitTakesRoom(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{Open: 30, TenantOpen: 20})
		first, second := w.submit(w.Context(), many("acme", "a", 20)...), w.submit(w.Context(), many("other", "b", 10)...)
		w.wantRefused(<-w.submit(w.Context(), many("other", "c", 1)...), problem.Unavailable, time.Second, intake.ReasonOpen, "not finished")
		w.step()
		if a, b := <-first, <-second; a.err != nil || b.err != nil {
			t.Error(a.err, b.err)
		}
		w.looks()
		w.accepts("acme", 1)

		w.store.failCommit = fmt.Errorf("no")
		w.one(many("acme", "d", 20)...)
		w.store.failCommit = nil
		w.accepts("acme", 18)
		w.one(many("acme", "1", 1)...) // what is a duplicate takes none
		w.accepts("acme", 1)
		w.refuses("acme", problem.RateLimited, time.Second, intake.ReasonTenantOpen, "acme")
	})
}

// The room is shared evenly, also by a process that was silent for half a minute.
func TestProcessesShareTheRoom(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{Open: 90})
		w.store.others = 2
		w.looks()
		if want := w.store.now().Add(-30 * time.Second); !w.store.lookedAt.Equal(want) {
			t.Errorf("processes count since %s, want %s", w.store.lookedAt, want)
		}
		w.unroutedFromNow()
		w.accepts("acme", 29)
		w.refuses("acme", problem.Unavailable, time.Second, intake.ReasonOpen, "not finished") // until a count shows what others took
		w.after(time.Second)
		w.accepts("acme", 1)
		w.refuses("acme", problem.Unavailable, time.Second, intake.ReasonOpen, "not finished")
		w.store.others = 1
		w.after(time.Second)
		w.accepts("acme", 15)
		w.refuses("acme", problem.Unavailable, time.Second, intake.ReasonOpen, "not finished")
	})
}

// Nobody waits for a second to be counted who has used some of what was free; and who is, is not counted over and over.
func TestACountComesWhenItIsWanted(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{Open: 100})
		if next := w.looks(); next != time.Second {
			t.Errorf("the next look comes after %s", next)
		}
		w.accepts("acme", 1)
		if !w.isAsked() { // it is not known yet what the tenant's events come to
			t.Error("the loop is not woken for a new tenant")
		}
		w.after(time.Second)
		w.accepts("acme", 11)
		if w.isAsked() {
			t.Error("the loop is woken although little is used")
		}
		w.accepts("acme", 2)
		w.accepts("acme", 2)
		if !w.isAsked() || w.isAsked() {
			t.Error("the loop is not woken once")
		}
		w.unroutedFromNow()
		w.store.unrouted = w.store.unrouted.Add(-time.Hour) // so that a count changes nothing
		counted := len(w.store.counted)
		w.store.open = map[tenant.ID]int{"": 2}
		if next := w.looks(); len(w.store.counted) != counted+1 || next != 100*time.Millisecond { // counting took 2 ms
			t.Errorf("counted %d times, and the next look comes after %s", len(w.store.counted)-counted, next)
		}
		if next := w.looks(); next != 2*time.Millisecond {
			t.Errorf("a loop that is woken over and over comes back after %s", next)
		}
	})
}

// A tenant that does not exist, and one that has not emitted for a while, leave nothing behind.
// A tenant's first estimate is a guess: what its events come to is asked anew soon, and then every ten seconds.
func TestWhatEventsComeToIsAskedSoonAtFirst(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{TenantOpen: 1000})
		var asked []int
		for second := range 40 {
			before := w.store.weighed
			w.accepts("acme", 1)
			w.after(time.Second)
			if w.store.weighed > before {
				asked = append(asked, second)
			}
		}
		if want := []int{0, 2, 4, 8, 16, 26, 36}; !slices.Equal(asked, want) {
			t.Errorf("asked after %v seconds, want %v", asked, want)
		}
	})
}

// What an event comes to is asked although the clock was set back since it was last.
func TestWhatEventsComeToIsAskedAfterTheClockWasSetBack(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{TenantOpen: 1000})
		w.store.later = time.Hour
		w.accepts("acme", 1)
		w.after(time.Second)
		w.store.later = 0
		before := w.store.weighed
		w.accepts("acme", 1)
		w.after(time.Second)
		if w.store.weighed == before {
			t.Error("it is not asked before the clock has caught up")
		}
	})
}

func TestWhoIsIdleIsForgotten(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{TenantOpen: 10})
		w.one(many("nobody", "a", 1)...)
		w.accepts("acme", 1)
		w.looks()
		w.after(time.Minute)
		w.store.counted = nil
		w.accepts("acme", 1)
		w.after(time.Second)
		if !slices.Equal(w.store.counted, []tenant.ID{"acme"}) { // as one that is new
			t.Errorf("counted %q", w.store.counted)
		}
	})
}

// However fan-out and deliveries follow each other: what is open, and what will be, stays within a quarter more than the
// bound, and two requests of each process: one goes beyond its share, and one beyond the part of it that a count is good for.
func TestTheBoundHolds(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := newSharers(t)
		for range rapid.IntRange(1, 150).Draw(t, "steps") {
			s.wait(time.Duration(rapid.IntRange(0, 100).Draw(t, "ms")) * time.Millisecond)
			switch rapid.SampledFrom([]string{"emit", "emit", "emit", "fan out", "deliver"}).Draw(t, "does") {
			case "emit":
				p := rapid.IntRange(0, len(s.all)-1).Draw(t, "process")
				s.slow = rapid.Bool().Draw(t, "slow")
				for range rapid.IntRange(1, 60).Draw(t, "requests") {
					_ = s.emit(p)
				}
			case "fan out":
				s.fanOut(rapid.IntRange(0, len(s.unrouted)).Draw(t, "routed"))
			case "deliver":
				s.store.open[""] -= rapid.IntRange(0, s.store.open[""]).Draw(t, "delivered")
			}
			if open := s.store.open[""] + perEvent*len(s.unrouted); open > sharedLimit*5/4+2*len(s.all)*batch*perEvent {
				t.Fatalf("%d are open or will be", open)
			}
		}
		s.store.open, s.unrouted, s.slow = map[tenant.ID]int{}, nil, false
		s.wait(time.Minute)
		for p := range s.all {
			if err := s.emit(p); err != nil {
				t.Fatalf("all is delivered, and process %d takes nothing: %v", p, err)
			}
		}
	})
}

const (
	sharedLimit = 3000
	batch       = 10 // events of a request
	perEvent    = 2  // deliveries
)

// sharers are processes that share a bound.
type sharers struct {
	*rapid.T
	store    *memory
	clock    time.Time
	all      [3]*intake.Intake
	backlogs [3]*intake.Backlog
	next     [3]time.Time // look
	unrouted []time.Time  // when each event was accepted
	requests int
	slow     bool // who is to count does so behind what is emitted now
}

func newSharers(t *rapid.T) *sharers {
	s := &sharers{T: t, clock: time.Date(2026, 6, 18, 12, 0, 0, 0, time.UTC)}
	s.store = &memory{events: map[intake.EventKey]intake.Accepted{}, tenants: map[tenant.ID]bool{"acme": true}, open: map[tenant.ID]int{},
		perEvent: map[tenant.ID]float64{"acme": perEvent}, others: len(s.all) - 1}
	now := func() time.Time { return s.clock }
	limits := intake.Limits{Open: sharedLimit}
	for p := range s.all {
		s.backlogs[p] = intake.NewBacklog(s.store, limits, now)
		s.all[p] = intake.New(intake.Config{Store: s.store, Limits: limits, Backlog: s.backlogs[p], Observer: &counts{accepted: map[event.Type]int{}, refused: map[intake.Reason]int{}}, Now: now})
		s.look(p)
	}
	return s
}

// wait lets time pass, in which everybody looks who wants to.
func (s *sharers) wait(d time.Duration) {
	s.clock = s.clock.Add(d)
	for p := range s.all {
		if s.isAsked(p) || !s.next[p].After(s.clock) {
			s.look(p)
		}
	}
}

func (s *sharers) isAsked(p int) bool {
	select {
	case <-s.backlogs[p].Loop().Wake:
		return true
	default:
		return false
	}
}

func (s *sharers) look(p int) {
	s.store.unrouted = time.Time{}
	if len(s.unrouted) > 0 {
		s.store.unrouted = s.unrouted[0]
	}
	var err error
	if s.next[p], err = s.backlogs[p].Step(s.Context()); err != nil {
		s.Fatal(err)
	}
}

func (s *sharers) emit(p int) (refused error) {
	s.requests++
	submission, err := s.all[p].Submit(s.Context(), many("acme", fmt.Sprint(s.requests), batch), "", nil)
	if err == nil {
		_, err = s.all[p].Step(s.Context())
	}
	if err == nil {
		_, err = submission.Answer()
		s.unrouted = append(s.unrouted, slices.Repeat([]time.Time{s.clock}, batch)...)
	}
	if !s.slow && s.isAsked(p) {
		s.look(p)
	}
	return err
}

func (s *sharers) fanOut(events int) {
	s.unrouted = s.unrouted[events:]
	s.store.open[""] += perEvent * events
}

func TestALaggingFanOutPushesBack(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{FanOutLag: time.Minute})
		w.store.unrouted = w.store.now()
		w.after(time.Minute)
		w.accepts("acme", 1) // just within the limit
		w.after(time.Second)
		w.refuses("acme", problem.Unavailable, 5*time.Second, intake.ReasonFanOutLag, "wait too long")
		w.store.unrouted = time.Time{}
		w.looks()
		w.accepts("acme", 1)
	})
}

// Events that wait for their tenant's turn are that tenant's: no other is refused for them.
func TestALaggingTurnPushesItsTenantBack(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{FanOutLag: time.Minute})
		w.store.waiting = map[tenant.ID]time.Time{"acme": w.store.now(), "other": w.store.now().Add(time.Second)}
		w.after(time.Minute + time.Second)
		w.refuses("acme", problem.Unavailable, 5*time.Second, intake.ReasonFanOutLag, "the tenant acme wait too long")
		w.wantRefused(w.one(append(many("other", "b", 1), many("acme", "b", 1)...)...), problem.Unavailable, 5*time.Second, intake.ReasonFanOutLag, "acme")
		w.accepts("other", 1) // just within the limit
		w.store.waiting = nil
		w.after(time.Minute)
		w.accepts("acme", 1)
	})
}

// What waits for its tenant's turn is not open yet, and takes room all the same: its tenant's, and everybody's.
func TestWhatWaitsForItsTurnTakesRoom(t *testing.T) {
	for _, limits := range []intake.Limits{{TenantOpen: 10}, {Open: 10}} {
		within(t, func(w *world) {
			w.open(limits)
			w.accepts("acme", 1)
			w.after(time.Minute)
			w.store.waiting = map[tenant.ID]time.Time{"acme": w.store.now()}
			w.accepts("acme", 9)
			w.after(time.Minute)
			w.accepts("acme", 1)
			code, why := problem.RateLimited, intake.ReasonTenantOpen
			if limits.Open > 0 {
				code, why = problem.Unavailable, intake.ReasonOpen
			}
			w.refuses("acme", code, time.Second, why, "not finished")
			w.store.waiting = map[tenant.ID]time.Time{"other": w.store.now().Add(-time.Hour)}
			w.after(time.Minute)
			if limits.Open > 0 {
				w.refuses("acme", code, time.Second, why, "not finished")
				w.store.waiting = nil
				w.after(time.Minute)
			}
			w.accepts("acme", 9) // another's take none of the tenant's
		})
	}
}
