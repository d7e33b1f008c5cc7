package faults_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/faults"
	"github.com/ordinavo/webhooks/application/dispatch"
)

// How long a transaction may stand still with the server, and how soon the others go on then.
const (
	idleInTransaction = 5 * time.Second
	goOnWithin        = 15 * time.Second
)

// stopAlone notes no fault, so that an attempt which came twice, or whose lease ran out, breaks I4.
func stopAlone(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil).prepare()
	held := make(chan struct{})
	letGo := sync.OnceFunc(func() { close(held) })
	t.Cleanup(letGo)
	s.receiver.answers(func(arrival) int { <-held; return http.StatusOK })
	s.emit(60)
	eventually(t, "all attempts are out", func() bool { return s.receiver.count() >= 90 })
	only := s.slots[0].Load()
	only.signal(syscall.SIGSTOP)
	during(dispatch.HeartbeatTimeout + 2*time.Second)
	letGo()
	only.signal(syscall.SIGCONT)
	return s.check().String()
}

// stopInTransaction stops a process at each hop that is within a transaction and can stop.
func stopInTransaction(t *testing.T, k kind) string {
	return stopAt(t, k, faults.FanOutHalf) + "; " + stopAt(t, k, faults.RecordBeforeCommit)
}

func stopAt(t *testing.T, k kind, hop string) string {
	d := fresh(t, k)
	d.url += fmt.Sprintf("&idle_in_transaction_session_timeout=%ds", int(idleInTransaction.Seconds()))
	order := filepath.Join(t.TempDir(), "stop")
	s := open(t, d, nil, "FAULTS_STOP="+order).prepare()
	if err := os.WriteFile(order, []byte(hop), 0o600); err != nil {
		t.Fatal(err)
	}
	var emitting sync.WaitGroup // for longer than the process stands still, when it is the one that is asked
	emitting.Go(func() {
		if err := s.emitThese(tenants[0], newEventIDs(batchSize), s.turn); err != nil {
			t.Error(err)
		}
	})
	var victim *process
	eventually(t, "a process stands still at "+hop, func() bool {
		for _, slot := range s.slots {
			if p := slot.Load(); p.stands() {
				victim = p
			}
		}
		return victim != nil
	})
	others := func(try int) *process {
		p := s.slots[try%len(s.slots)].Load()
		if p == victim {
			p = s.slots[(try+1)%len(s.slots)].Load()
		}
		return p
	}
	over, began := s.strike(), time.Now()
	eventually(t, "its transaction is open on the server", func() bool { return s.inTransaction() > 0 })
	arrived := s.receiver.arriving(s.emitTo(others))
	if err := poll(goOnWithin, arrived); err != nil {
		t.Errorf("while a process stands still at %s the others do not go on: %v", hop, err)
		eventually(t, "the others go on", arrived)
	}
	moved := time.Since(began)
	eventually(t, "the server ends the transaction", func() bool { return s.inTransaction() == 0 })
	victim.signal(syscall.SIGCONT)
	over()
	eventually(t, "the process is ready again", func() bool { return s.probe(victim, "/readyz") == http.StatusOK })
	eventually(t, "what it accepts is delivered", s.receiver.arriving(s.emitTo(func(int) *process { return victim })))
	emitting.Wait()
	if victim.hasEnded() || victim.stands() {
		t.Error("the process did not go on")
	}
	return fmt.Sprintf("at %s the others delivered again after %.1f s: %s", hop, moved.Seconds(), s.check())
}

// emitTo has a batch accepted by one of the processes, and gives the IDs of its events.
func (s *site) emitTo(to func(try int) *process) (ids []string) {
	s.Helper()
	ids = newEventIDs(batchSize)
	if err := s.emitThese(tenants[0], ids, to); err != nil {
		s.Fatal(err)
	}
	return ids
}

// arriving asks whether each of the events has arrived somewhere.
func (r *receiver) arriving(events []string) func() bool {
	return func() bool {
		came := map[string]bool{}
		for _, a := range r.all() {
			came[a.event] = true
		}
		for _, id := range events {
			if !came[id] {
				return false
			}
		}
		return true
	}
}

// inTransaction is how many sessions of the service wait for its next word within a transaction.
func (s *site) inTransaction() int64 {
	s.Helper()
	return s.value(`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in transaction%'
		AND state_change < now() - interval '1 second'`)
}

// stands reports whether the process is stopped.
func (p *process) stands() bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(text), ") ") // behind the name
	return strings.HasPrefix(state, "T")
}
