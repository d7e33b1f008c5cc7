package postgres

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// lonely is a server that waits for a standby which is not there, with a connection to it that does not, and a table.
type lonely struct {
	*testing.T
	url  string
	conn *pgx.Conn
}

func startLonely(t *testing.T) lonely {
	t.Helper()
	server, err := pgtest.Start("fsync=off") // or a commit may take so long without a standby
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = server.Stop() })
	conn, err := pgx.Connect(t.Context(), server.URL)
	pgtest.Check(t, err)
	_, err = conn.Exec(t.Context(), `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	pgtest.Check(t, err)
	server.Halt()
	pgtest.Check(t, server.Resume("fsync=off"))
	conn, err = pgx.Connect(t.Context(), server.URL+param(server.URL)+"synchronous_commit=local")
	pgtest.Check(t, err)
	l := lonely{t, server.URL, conn}
	l.run(`CREATE TABLE kept (n int)`)
	return l
}

func (l lonely) run(sql string) {
	l.Helper()
	_, err := l.conn.Exec(l.Context(), sql)
	pgtest.Check(l, err)
}

func (l lonely) ask(sql string) (n int) {
	l.Helper()
	pgtest.Check(l, l.conn.QueryRow(l.Context(), sql).Scan(&n))
	return n
}

// stillWait fails unless so many commits go on waiting for two seconds.
func (l lonely) stillWait(commits int) {
	l.Helper()
	const waits = `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND state_change < clock_timestamp() - interval '2 s'`
	for end := time.Now().Add(time.Minute); l.ask(waits) < commits; {
		if n := l.ask(`SELECT count(*) FROM kept`); n > 0 || time.Now().After(end) {
			l.Fatalf("a commit waits no longer, and %d rows are there", n)
		}
	}
}

// open is for a database whose commits take long soon.
func (l lonely) open(c Config) *DB {
	l.Helper()
	c.LongestAnswer, c.LongestCommit = time.Second, 500*time.Millisecond
	db, err := Open(c)
	pgtest.Check(l, err)
	l.Cleanup(func() { _ = db.Close() })
	return db
}

const keep = `INSERT INTO kept VALUES (1)`

func keeps(ctx context.Context, tx *Tx) error { _, err := tx.Exec(ctx, keep); return err }

// leaves expects that who waits is told that nobody knows. What becomes of it comes by the channel.
func (l lonely) leaves(db *DB, write func(ctx context.Context, tx *Tx) error) (late chan bool) {
	late = make(chan bool, 1)
	err := db.Update(context.WithoutCancel(l.Context()), func(ctx context.Context, tx *Tx) error {
		tx.WhenEnded(func(committed bool) { late <- committed })
		return write(ctx, tx)
	})
	if !errors.Is(err, errUnknown) || !problem.Is(err, problem.Unavailable) {
		l.Errorf("who waits is told %v", err)
	}
	return late
}

// TestACommitWaitsForTheStandby that the operator wants it on. If it was taken for committed earlier, an event would be answered with 202, and
// be gone once that standby takes over.
func TestACommitWaitsForTheStandby(t *testing.T) {
	t.Parallel()
	l := startLonely(t)
	db := l.open(Config{URL: l.url})
	ended := []chan bool{
		l.leaves(db, keeps),
		l.leaves(db, func(_ context.Context, tx *Tx) error { tx.ExecLast(nil, keep); return nil }), // whose ID is not known before it is sent
	}
	l.stillWait(2)
	l.run(`ALTER SYSTEM RESET synchronous_standby_names`)
	l.ask(`SELECT pg_reload_conf()::int`)
	for _, late := range ended {
		if !<-late {
			t.Error("once there is nobody to wait for, it is told that it is undone")
		}
	}
	if n := l.ask(`SELECT count(*) FROM kept`); n != 2 {
		t.Errorf("%d rows are there", n)
	}
}

// TestAProcessThatStopsAnswersForNoStandby: it ends the wait, and what is committed by that may be gone once the standby takes over.
func TestAProcessThatStopsAnswersForNoStandby(t *testing.T) {
	t.Parallel()
	l := startLonely(t)
	stopping, stop := context.WithCancel(t.Context())
	stop()
	if !<-l.leaves(l.open(Config{URL: l.url, Starting: stopping}), keeps) {
		t.Error("what is committed without the standby is told as undone")
	}
}

// TestACommitWaitsForTheStandbyOfAFullServer: where commits wait, so do all who use the server, and its connections run out.
func TestACommitWaitsForTheStandbyOfAFullServer(t *testing.T) {
	t.Parallel()
	l := startLonely(t)
	l.run(`CREATE ROLE few LOGIN`)
	l.run(`GRANT ALL ON kept TO few`)
	at, err := url.Parse(l.url)
	pgtest.Check(t, err)
	at.User = url.User("few")
	l.leaves(l.open(Config{URL: at.String()}), keeps)
	l.run(`ALTER ROLE few CONNECTION LIMIT 1`)
	l.stillWait(1)
}

// TestAServerThatHangsIsNotAskedForLong what its commit waits for: meanwhile its user waits.
func TestAServerThatHangsIsNotAskedForLong(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start()
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = server.Stop() })
	l := lonely{T: t, url: server.URL}
	db := l.open(Config{URL: l.url})
	var began time.Time
	late := l.leaves(db, func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, `CREATE TABLE kept (n int)`)
		server.Pause()
		began = time.Now()
		return err
	})
	took := time.Since(began)
	server.Continue()
	if most := db.config.LongestCommit + acquireTimeout + resolveWithin; took >= most {
		t.Errorf("who waits is told after %s, as if the question's connection were waited for", took)
	}
	<-late
}

// TestNoStandbyIsWaitedForWhereNoneWas: who sets synchronous_commit off where others wait for a standby goes on while that is away.
func TestNoStandbyIsWaitedForWhereNoneWas(t *testing.T) {
	t.Parallel()
	l := startLonely(t)
	l.run(`ALTER ROLE ordinavo SET synchronous_commit = off`)
	pgtest.Check(t, openAt(t, l.url).Update(t.Context(), keeps))
}
