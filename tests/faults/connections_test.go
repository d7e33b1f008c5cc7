package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// connectionScenarios are about connections that are not to be had.
var connectionScenarios = []scenario{
	{name: "pool exhausted", does: "somebody locks the tables at load, until each connection of each process waits for them", on: onlyPostgreSQL, run: exhaustPools},
	{name: "slow reads", does: "requests that only read wait for a lock, more of them than there are connections", invariants: "I6", on: onlyPostgreSQL, run: slowReads},
	{name: "no connections left", does: "others take all connections of the server, the service's own too, which is stopped while they do, and give them back", on: onlyPostgreSQL, run: takeConnections},
}

// longestAnswer is what an API answer may take in any trouble: the time that a request gets, and some for a busy machine.
const longestAnswer = 36 * time.Second

// readers is more than a process has connections.
const readers = 40

// exhaustPools holds the service to answering in a bounded time while none of its connections comes back.
func exhaustPools(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil).prepare()
	stop := s.load(20 * time.Millisecond)
	eventually(t, "deliveries move", func() bool { return s.receiver.count() >= 50 })
	over, unlock := s.strike(), s.lock("events, open_deliveries")
	e := s.events()[0]
	asked := s.askAll(e.tenant, "/v1/events/"+e.id)
	eventually(t, "somebody is told to come again", func() bool { return asked.refused.Load() >= int64(inFull(1, readers*s.processes)) })
	unlock()
	moved := s.moveAgain()
	over()
	asked.Wait()
	stop()
	if slowest := asked.slowest(); *full && slowest > longestAnswer {
		t.Errorf("the slowest answer came after %s", slowest)
	}
	return fmt.Sprintf("%d of %d requests refused, the last after %.1f s; deliveries moved again after %.1f s; %s",
		asked.refused.Load(), readers*s.processes, asked.slowest().Seconds(), moved.Seconds(), s.check())
}

// slowReads holds the service to delivering as ever while the API's users wait: before the time is up of those who have
// got a connection. If they had got them all, nothing would move until then.
func slowReads(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil).prepare()
	stop := s.load(20 * time.Millisecond)
	eventually(t, "deliveries move", func() bool { return s.receiver.count() >= 50 })
	unlock := s.lock("jobs")
	asked := s.askAll(tenants[0], "/v1/jobs")
	eventually(t, "who gets no connection is told to come again", func() bool { return asked.refused.Load() > 0 })
	before, wanted := s.receiver.count(), inFull(50, 1000)
	eventually(t, "deliveries move while others wait", func() bool { return s.receiver.count() >= before+wanted })
	waiting := readers*s.processes - int(asked.answered.Load())
	unlock()
	asked.Wait()
	stop()
	f := s.check()
	if waiting == 0 {
		t.Errorf("no request waited still when %d were delivered", wanted)
	}
	return fmt.Sprintf("%d delivered while %d of %d requests waited; %s", wanted, waiting, readers*s.processes, f)
}

// lock keeps everybody from the tables, until unlock is called.
func (s *site) lock(tables string) (unlock func()) {
	s.Helper()
	conn := s.connect()
	eventually(s.T, "the tables are locked", func() bool {
		_, err := conn.Exec(s.Context(), "BEGIN; LOCK TABLE "+tables+" IN ACCESS EXCLUSIVE MODE")
		if err != nil { // it may meet a transaction that has them in another order
			_, _ = conn.Exec(s.Context(), "ROLLBACK")
		}
		return err == nil
	})
	return func() { _ = conn.Close(context.Background()) }
}

// asked is what became of many requests at once.
type asked struct {
	sync.WaitGroup
	answered atomic.Int64
	refused  atomic.Int64 // of those that are answered
	longest  atomic.Int64
}

func (a *asked) slowest() time.Duration { return time.Duration(a.longest.Load()) }

// askAll asks each process for what is at the path, more often at once than it has connections.
func (s *site) askAll(tenant, path string) *asked {
	all := &asked{}
	s.alive(func(_ int, p *process) {
		for range readers {
			all.Go(func() {
				defer all.answered.Add(1)
				began := time.Now()
				status, header, text, err := s.call(context.Background(), p, tenant, http.MethodGet, path, nil)
				for took := int64(time.Since(began)); ; {
					if longest := all.longest.Load(); took <= longest || all.longest.CompareAndSwap(longest, took) {
						break
					}
				}
				if err == nil && status == http.StatusOK {
					return
				}
				if err == nil {
					err = s.excuse(status, header, text)
				}
				if err != nil {
					s.Error(err)
				}
				all.refused.Add(1)
			})
		}
	})
	return all
}

// moveAgain is how long it takes from now until something is delivered.
func (s *site) moveAgain() time.Duration {
	s.Helper()
	began, before := time.Now(), s.receiver.count()
	eventually(s.T, "deliveries move again", func() bool { return s.receiver.count() > before })
	return time.Since(began)
}

func takeConnections(t *testing.T, _ kind) string {
	server, err := pgtest.Start("fsync=off", "max_connections=60")
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = server.Stop() })
	s := open(t, database{url: server.URL, processes: 3}, nil).prepare()
	stop := s.load(20 * time.Millisecond)
	eventually(t, "deliveries move", func() bool { return s.receiver.count() >= 50 })
	h, over := &hog{T: t, url: server.URL}, s.strike()
	s.alive(func(_ int, p *process) { p.signal(syscall.SIGSTOP) }) // they would get them back as fast as the hog takes them
	h.takeAll()
	s.alive(func(_ int, p *process) { p.signal(syscall.SIGCONT) })
	during(awayFor())
	h.giveBack()
	moved := s.moveAgain()
	over()
	stop()
	if *full && moved > movesWithin {
		t.Errorf("deliveries moved again after %s", moved)
	}
	return fmt.Sprintf("%d connections taken; deliveries moved again after %.1f s; %s", len(h.conns), moved.Seconds(), s.check())
}

// hog takes a server's connections.
type hog struct {
	*testing.T
	url   string
	conns []*pgx.Conn
}

// takeAll connects until the server has no more, and ends everybody else's connections to get theirs.
func (h *hog) takeAll() {
	h.Helper()
	eventually(h.T, "all connections are the hog's", func() bool {
		conn, err := pgx.Connect(h.Context(), h.url)
		if err == nil {
			h.conns = append(h.conns, conn)
			return false
		}
		var refused *pgconn.PgError
		if !errors.As(err, &refused) || refused.Code != "53300" {
			h.Fatal(err)
		}
		var others int
		err = h.conns[0].QueryRow(h.Context(), `SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
			WHERE backend_type = 'client backend' AND pid <> ALL ($1)`, h.pids()).Scan(&others)
		if err != nil {
			h.Fatal(err)
		}
		return others == 0
	})
}

func (h *hog) pids() (pids []int32) {
	for _, conn := range h.conns {
		pids = append(pids, int32(conn.PgConn().PID()))
	}
	return pids
}

func (h *hog) giveBack() {
	for _, conn := range h.conns {
		_ = conn.Close(context.Background())
	}
}
