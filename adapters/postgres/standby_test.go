package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestACommitWaitsForTheStandby that the operator wants it on. If it was taken for committed earlier, an event would be answered with 202, and
// be gone once that standby takes over.
func TestACommitWaitsForTheStandby(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start()
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = server.Stop() })
	conn, err := pgx.Connect(t.Context(), server.URL)
	pgtest.Check(t, err)
	_, err = conn.Exec(t.Context(), `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
	pgtest.Check(t, err)
	server.Halt()
	pgtest.Check(t, server.Resume())
	conn, err = pgx.Connect(t.Context(), server.URL+param(server.URL)+"synchronous_commit=local")
	pgtest.Check(t, err)
	ask := func(sql string) (n int) {
		pgtest.Check(t, conn.QueryRow(t.Context(), sql).Scan(&n))
		return n
	}
	_, err = conn.Exec(t.Context(), `CREATE TABLE kept (n int)`)
	pgtest.Check(t, err)
	db, err := Open(Config{URL: server.URL, LongestAnswer: 400 * time.Millisecond, LongestCommit: 200 * time.Millisecond})
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	const add = `INSERT INTO kept VALUES (1)`
	committed, late := make(chan error), make(chan bool)
	for _, write := range []func(ctx context.Context, tx *Tx) error{
		func(ctx context.Context, tx *Tx) error { _, err := tx.Exec(ctx, add); return err },
		func(_ context.Context, tx *Tx) error { tx.ExecLast(nil, add); return nil }, // whose ID is not known before it is sent
	} {
		go func() {
			committed <- db.Update(context.WithoutCancel(t.Context()), func(ctx context.Context, tx *Tx) error {
				tx.WhenEnded(func(committed bool) { late <- committed })
				return write(ctx, tx)
			})
		}()
	}
	for range 2 {
		if err := <-committed; !errors.Is(err, errUnknown) || !problem.Is(err, problem.Unavailable) {
			t.Errorf("who waits is told %v", err)
		}
	}
	const waits = `SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND state_change < clock_timestamp() - interval '2 s'`
	for end := time.Now().Add(time.Minute); ask(waits) < 2; {
		if n := ask(`SELECT count(*) FROM kept`); n > 0 || time.Now().After(end) {
			t.Fatalf("two commits wait no longer, and %d rows are there", n)
		}
	}
	_, err = conn.Exec(t.Context(), `ALTER SYSTEM RESET synchronous_standby_names`)
	pgtest.Check(t, err)
	ask(`SELECT pg_reload_conf()::int`)
	for range 2 {
		if !<-late {
			t.Error("once there is nobody to wait for, it is told that it is undone")
		}
	}
	if n := ask(`SELECT count(*) FROM kept`); n != 2 {
		t.Errorf("%d rows are there", n)
	}
}
