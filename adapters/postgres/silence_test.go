package postgres

import (
	"context"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestConnectionsAreNotWaitedForInSilence asks the kernel for how long it waits for a server that is gone without a word.
func TestConnectionsAreNotWaitedForInSilence(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the bound is Linux's")
	}
	t.Parallel()
	db, err := Open(Config{URL: pgtest.Empty(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	conn, err := db.acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	bounded(t, "one of the pool", conn.Conn().PgConn())
	listening, err := db.connectDirect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listening.Close(context.Background()) }()
	bounded(t, "the one that listens", listening.PgConn())
}

func bounded(t *testing.T, which string, conn *pgconn.PgConn) {
	t.Helper()
	tcp, ok := conn.Conn().(*net.TCPConn)
	if !ok {
		t.Fatalf("%s is a %T", which, conn.Conn())
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var silence, idle int
	err = raw.Control(func(fd uintptr) {
		silence, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout)
		idle, _ = syscall.GetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE)
	})
	if want := int(longestSilence.Milliseconds()); err != nil || silence != want || idle <= 0 || idle*1000 > want {
		t.Errorf("%s bears %d ms of silence and asks after %d s, want %d ms and less than that: %v", which, silence, idle, want, err)
	}
}

// TestAnAnswerIsNotWaitedForForGood has a server that hangs, though its machine acknowledges what is sent.
func TestAnAnswerIsNotWaitedForForGood(t *testing.T) {
	t.Parallel()
	const never = `SELECT pg_sleep(3600)`
	db, err := Open(Config{URL: pgtest.Empty(t), LongestAnswer: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	batch := func() *pgx.Batch {
		b := &pgx.Batch{}
		b.Queue(never)
		return b
	}
	for name, ask := range map[string]func(context.Context) error{
		"a query": func(ctx context.Context) error { return db.Query(ctx, func(pgx.Rows) error { return nil }, never) },
		"a batch": func(ctx context.Context) error { return db.send(ctx, batch()) },
		"a transaction": func(ctx context.Context) error {
			return db.Update(ctx, func(ctx context.Context, tx *Tx) error { return tx.send(ctx, batch()) })
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := ask(ctx); !problem.Is(err, problem.Unavailable) {
			t.Errorf("%s: %v", name, err)
		}
		cancel()
	}
}
