package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

var onlyPostgreSQL = []kind{onPostgreSQL}

// databaseScenarios are about a PostgreSQL that is in trouble.
var databaseScenarios = []scenario{
	{name: "PostgreSQL restarted", does: "the server is shut down at load, is away, and comes back", on: onlyPostgreSQL,
		run: away(func(s *pgtest.Server) { s.Halt() }, func(s *pgtest.Server) error { return s.Resume() })},
	{name: "PostgreSQL killed", does: "the server is killed at load, is away, and comes back", on: onlyPostgreSQL,
		run: away(func(s *pgtest.Server) { s.Kill() }, func(s *pgtest.Server) error { return s.Resume() })},
	{name: "PostgreSQL paused", does: "all of the server's processes stand still at load, and go on", on: onlyPostgreSQL,
		run: away(func(s *pgtest.Server) { s.Pause() }, func(s *pgtest.Server) error { s.Continue(); return nil })},
	{name: "PostgreSQL slow", does: "each of the server's answers comes 500 ms late", on: onlyPostgreSQL, run: slowAnswers},
	{name: "cut before COMMIT", does: "a connection breaks when COMMIT is about to be sent, over and over", on: onlyPostgreSQL, run: cut(false)},
	{name: "cut after COMMIT", does: "a connection breaks when COMMIT was sent, and the answer is lost, over and over", on: onlyPostgreSQL, run: cut(true)},
	{name: "nobody gets through", does: "all connections are cut, and none is let through for a while", on: onlyPostgreSQL, run: shutOff},
	{name: "40001 and 40P01", does: "three writes in a row fail as by a serialization failure, and three as by a deadlock", on: onlyPostgreSQL, run: conflicts},
}

// private starts a server for one scenario alone.
func private(t *testing.T) (*pgtest.Server, database) {
	t.Helper()
	server, err := pgtest.Start("fsync=off")
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = server.Stop() })
	return server, database{url: server.URL, processes: 3}
}

// behindProxy is a fresh database that is reached through a proxy.
func behindProxy(t *testing.T) (*pgtest.Proxy, database) {
	t.Helper()
	direct := pgtest.Empty(t)
	proxy := pgtest.NewProxy(t, direct)
	return proxy, database{url: proxy.URL, direct: direct, processes: 3}
}

// load emits until stop is called, which returns when the last batch is acknowledged, or the test has ended.
func (s *site) load(every time.Duration) (stop func()) {
	every = calmer(every)
	quit, emitted := make(chan struct{}), make(chan struct{})
	go func() { defer close(emitted); s.emitWhile(quit, every) }()
	stop = sync.OnceFunc(func() { close(quit); <-emitted })
	s.Cleanup(func() { s.halting.Store(true); stop() })
	return stop
}

// awayFor is how long the server is away, and movesWithin how soon deliveries move again after a minute.
func awayFor() time.Duration {
	if *full {
		return time.Minute
	}
	return 2 * time.Second
}

const movesWithin = 10 * time.Second

// away takes the server away at load, and says how soon deliveries move again once it is back.
func away(leave func(*pgtest.Server), comeBack func(*pgtest.Server) error) func(*testing.T, kind) string {
	return func(t *testing.T, _ kind) string {
		server, d := private(t)
		s := open(t, d, nil).prepare()
		stop := s.load(20 * time.Millisecond)
		eventually(t, "deliveries move", func() bool { return s.receiver.count() >= 50 })
		over := s.strike()
		leave(server)
		during(awayFor())
		before := s.receiver.count()
		if err := comeBack(server); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		eventually(t, "deliveries move again", func() bool { return s.receiver.count() > before })
		moved := time.Since(back)
		over()
		stop()
		if *full && moved > movesWithin {
			t.Errorf("deliveries moved again after %s", moved)
		}
		return fmt.Sprintf("away for %s, deliveries moved again after %.1f s; %s", awayFor(), moved.Seconds(), s.check())
	}
}

const slowAnswer = 500 * time.Millisecond

func slowAnswers(t *testing.T, _ kind) string {
	proxy, d := behindProxy(t)
	s := open(t, d, nil).prepare()
	proxy.Delay(slowAnswer)
	s.emit(inFull(40, 400))
	slowest := time.Duration(0)
	for _, e := range s.events() {
		slowest = max(slowest, e.took)
	}
	proxy.Delay(0)
	if slowest < slowAnswer {
		t.Errorf("the slowest 202 came after %s: no answer was late", slowest)
	}
	return fmt.Sprintf("slowest 202 after %.1f s; %s", slowest.Seconds(), s.check())
}

func cut(forward bool) func(*testing.T, kind) string {
	return func(t *testing.T, _ kind) string {
		proxy, d := behindProxy(t)
		s := open(t, d, nil).prepare()
		stop := s.load(20 * time.Millisecond)
		cuts := inFull(10, 200)
		for range cuts {
			proxy.Arm(pgtest.Cut{Word: "COMMIT", Forward: forward})
			eventually(t, "the cut comes", func() bool { return !proxy.Armed() })
		}
		stop()
		return fmt.Sprintf("%d cuts: %s", cuts, s.check())
	}
}

// shutOff cuts the connections for LISTEN, too. Nobody is let through until somebody who emits is told to come again.
func shutOff(t *testing.T, _ kind) string {
	proxy, d := behindProxy(t)
	d.direct = proxy.URL
	s := open(t, d, nil).prepare()
	stop := s.load(20 * time.Millisecond)
	times, longest := inFull(3, 20), time.Duration(0)
	for range times {
		during(time.Duration(200+rand.IntN(300)) * time.Millisecond)
		over, began, before := s.strike(), time.Now(), s.refusals.Load()
		proxy.Shut(true)
		during(time.Duration(200+rand.IntN(800)) * time.Millisecond)
		eventually(t, "somebody is told to come again", func() bool { return s.refusals.Load() > before })
		longest = max(longest, time.Since(began))
		proxy.Shut(false)
		over()
	}
	stop()
	return fmt.Sprintf("shut off %d times, for %.1f s at most, and %d requests told to come again: %s", times, longest.Seconds(), s.refusals.Load(), s.check())
}

// refusals makes inserts into a table fail; a sequence counts them, since it is not undone with the transaction.
const refusals = `CREATE SEQUENCE refused;
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE n bigint := nextval('refused');
BEGIN
    IF n <= 3 THEN RAISE EXCEPTION 'made up' USING ERRCODE = '40001'; END IF;
    IF n BETWEEN 5 AND 7 THEN RAISE EXCEPTION 'made up' USING ERRCODE = '40P01'; END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER refuse AFTER INSERT ON %s FOR EACH STATEMENT EXECUTE FUNCTION refuse()`

func conflicts(t *testing.T, k kind) string {
	var figures string
	for _, table := range []string{"open_deliveries", "closed_deliveries", "events"} {
		s := open(t, fresh(t, k), nil).prepare()
		s.execute(fmt.Sprintf(refusals, table))
		s.emit(inFull(60, 600))
		eventually(t, "as many inserts into "+table+" as are refused", func() bool {
			s.emit(batchSize) // for what is read, sent or closed as one is one insert, however much it is
			return s.value(`SELECT last_value FROM refused`) >= 8
		})
		figures = fmt.Sprintf("on each of 3 tables: %s", s.check())
	}
	return figures
}

// execute runs statements on the site's database.
func (s *site) execute(sql string) {
	s.Helper()
	conn := s.connect()
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(s.Context(), sql); err != nil {
		s.Fatal(err)
	}
}

func (s *site) value(sql string) (n int64) {
	s.Helper()
	conn := s.connect()
	defer func() { _ = conn.Close(context.Background()) }()
	if err := conn.QueryRow(s.Context(), sql).Scan(&n); err != nil {
		s.Fatal(err)
	}
	return n
}

func (s *site) connect() *pgx.Conn {
	s.Helper()
	conn, err := pgx.Connect(s.Context(), s.url)
	if err != nil {
		s.Fatal(err)
	}
	return conn
}
