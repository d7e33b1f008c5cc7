package faults_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/faults"
)

var killScenarios = slices.Concat(hopScenarios(), []scenario{{
	name: "kill -9 at random", does: "a random process is killed every second at load, and started again", on: both, run: killAtRandom,
}, {
	name: "kill -9 before an answer", does: "the process kills itself once an event without an ID is durable, and its emitter repeats the request with its Idempotency-Key",
	invariants: "I1", on: both, run: repeatAfterKill,
}, {
	name: "kill -9, roles apart", does: "of two processes that only accept, one that only fans out and one that only sends, each is killed at load and started again",
	on: []kind{onPostgreSQL}, run: killRoles,
}, {
	name: "SIGSTOP past the lease", does: "a process stands still with attempts out for longer than its lease, others take over, and it goes on",
	invariants: "I3", on: []kind{onPostgreSQL}, run: stopPastTheLease,
}, {
	name: "SIGSTOP past the lease", does: "the only process stands still with attempts out for longer than its lease, receivers answer meanwhile, and it goes on: " +
		"what it holds is still its own, and no attempt is made twice",
	on: []kind{onSQLite}, run: stopAlone,
}, {
	name: "SIGSTOP inside a transaction", does: "a process stands still with its transaction open on the server, once at fanout.half and once at record.before_commit, " +
		"for longer than idle_in_transaction_session_timeout, which the database's URL sets to 5 s; the others go on meanwhile, and then it does",
	on: []kind{onPostgreSQL}, run: stopInTransaction,
}})

// hopScenarios is a kill at each hop of an event's way. The short form has killAtEach for them all.
func hopScenarios() (all []scenario) {
	for _, hop := range faults.Hops() {
		all = append(all, scenario{
			name: "kill -9, " + hop, does: "the first process kills itself when it passes the hop, and is started again to do so once more", on: both, inFull: true,
			run: func(t *testing.T, k kind) string { return killAt(t, k, hop) },
		})
	}
	return all
}

// manyTurns has most events wait for their tenant's turn: a batch comes to 10 deliveries or 20.
var manyTurns = []string{"FAULTS_AT_ONCE=5"}

// killsAt is how often processes are killed at each hop: in full a thousand times on each database over all.
func killsAt() int {
	if *kills > 0 {
		return *kills
	}
	return inFull(3, 100)
}

// whileKilled polls as long as processes go on to kill themselves.
func (s *site) whileKilled(ok func() bool) error {
	for {
		before := s.killed()
		if err := poll(patience, ok); err == nil || s.killed() == before {
			return err
		}
	}
}

const killVariable = "FAULTS_KILL="

// killAt has processes that kill themselves at the hop, one after the other, and starts them again.
func killAt(t *testing.T, k kind, hop string) string {
	atLeast := killsAt()
	armed := func() []string { return []string{fmt.Sprintf("%s%s:%d", killVariable, hop, 1+rand.IntN(4))} }
	var env []string
	if hop == faults.DeferAfterCommit || hop == faults.TurnBeforeCommit {
		env = manyTurns
	}
	s := open(t, fresh(t, k), func(int) []string { return armed() }, env...).prepare()
	s.watched(armed)
	if hop == faults.LeaseAfterCommit {
		s.receiver.answers(func(arrival) int { // so that there is something to lease that was not handed over
			return []int{200, 503}[rand.IntN(2)]
		})
	}
	stop := s.load(50 * time.Millisecond)
	if err := s.whileKilled(func() bool { return s.killed() >= atLeast }); err != nil {
		t.Fatalf("the hop was passed %d times of %d: %v", s.killed(), atLeast, err)
	}
	return s.afterKills(stop)
}

// killAtEach has processes that kill themselves at one hop or another. Of those that are started again each gets the hop that has killed
// the fewest, so that nobody has to wait for a hop that only the others pass.
func killAtEach(t *testing.T, k kind) string {
	var s *site
	var mu sync.Mutex
	armed := map[string]int{}
	arm := func(dead map[string]int) []string {
		mu.Lock()
		defer mu.Unlock()
		hop := slices.MinFunc(faults.Hops(), func(a, b string) int { return cmp.Or(dead[a]-dead[b], armed[a]-armed[b]) })
		armed[hop]++
		return []string{fmt.Sprintf("%s%s:%d", killVariable, hop, 1+rand.IntN(3))}
	}
	s = open(t, fresh(t, k), func(int) []string { return arm(nil) }, manyTurns...).prepare()
	s.watched(func() []string { return arm(s.killedAt()) })
	s.receiver.answers(func(arrival) int { // so that there is something to lease that was not handed over
		return []int{200, 200, 200, 503}[rand.IntN(4)]
	})
	stop := s.load(50 * time.Millisecond)
	left := func() []string {
		dead := s.killedAt()
		return slices.DeleteFunc(faults.Hops(), func(hop string) bool { return dead[hop] >= killsAt() })
	}
	if err := s.whileKilled(func() bool { return len(left()) == 0 }); err != nil {
		t.Fatalf("%v killed too seldom: %v %v", left(), s.killedAt(), err)
	}
	return s.afterKills(stop)
}

// afterKills ends the load and the killing.
func (s *site) afterKills(stop func()) string {
	s.Helper()
	s.watched(func() []string { return nil })
	stop()
	s.receiver.answers(nil)  // who fails half gets some 27 attempts a second of a backlog, and here are thousands
	for n := range s.slots { // those that are armed still
		s.start(n)
	}
	times := s.killed()
	return killed(times, s.check())
}

func killAtRandom(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil, manyTurns...).prepare()
	s.watched(func() []string { return nil })
	stop := s.load(40 * time.Millisecond)
	times := inFull(4, 60)
	for range times {
		during(time.Second)
		s.kill(rand.IntN(len(s.slots)))
	}
	stop()
	return killed(times, s.check())
}

// killRoles lets deliveries move after each death: who is alone with its work leaves it to the one that is started in its place.
func killRoles(t *testing.T, k kind) string {
	d := fresh(t, k)
	d.processes = 4
	s := openAs(t, d, []string{"api", "api", "router", "dispatcher"}, nil).prepare()
	stop := s.load(40 * time.Millisecond)
	moving := func() {
		before := s.receiver.count()
		eventually(t, "deliveries move", func() bool { return s.receiver.count() >= before+50 })
	}
	moving()
	rounds := inFull(1, 20)
	for range rounds {
		for n := range s.slots {
			s.kill(n)
			s.start(n)
			moving()
		}
	}
	stop()
	return killed(rounds*len(s.slots), s.check())
}

// ranOut is how many attempts are counted whose lease ran out.
const ranOut = `SELECT coalesce(sum(attempts), 0)::bigint FROM attempt_metrics WHERE outcome = 'lease_expired'`

func stopPastTheLease(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil).prepare()
	held := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(held) })
	t.Cleanup(letGo)
	s.receiver.answers(func(arrival) int { <-held; return 200 })
	s.emit(60)
	eventually(t, "all attempts are out", func() bool { return s.receiver.count() >= 90 })
	victim, out := s.busiest()
	over := s.strike()
	victim.signal(syscall.SIGSTOP)
	s.receiver.answers(nil)
	eventually(t, "others have taken over", func() bool { return s.receiver.count() >= 90+out && s.value(ranOut) >= int64(out) })
	victim.signal(syscall.SIGCONT)
	over()
	letGo()
	f, stale := s.check(), 0.0
	eventually(t, "the late outcomes are refused", func() (done bool) {
		var err error
		stale, err = s.metric(victim, "ordinavo_attempt_stale_leases_total")
		return err == nil && int(stale) >= out
	})
	if f.expired < out {
		t.Errorf("I3: with %d attempts out, %d leases ran out", out, f.expired)
	}
	return fmt.Sprintf("%s; %.0f late outcomes refused", f, stale)
}

// busiest is the process with the most attempts out, and how many these are, once one has any.
func (s *site) busiest() (found *process, out int) {
	s.Helper()
	eventually(s.T, "a process has attempts out", func() bool {
		out = 0
		s.alive(func(_ int, p *process) {
			if n, err := s.metric(p, "ordinavo_attempts_in_flight"); err == nil && int(n) > out {
				found, out = p, int(n)
			}
		})
		return found != nil
	})
	return found, out
}
