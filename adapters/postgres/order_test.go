package postgres_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
)

// TestAReaderMissesNothing has writers whose transactions take turns to be slow before their commit, and a reader that goes
// on from the last position that it saw. Without the lock of the log it skips what commits late.
func TestAReaderMissesNothing(t *testing.T) {
	t.Parallel()
	db := openDB(t)
	const writers, each = 8, 25
	var wait sync.WaitGroup
	for w := range writers {
		wait.Go(func() {
			for i := range each {
				err := db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
					if err := tx.Publish(ctx, []postgres.Message{message(w, i), message(w, i)}); err != nil {
						return err
					}
					_, err := tx.Exec(ctx, `SELECT pg_sleep($1)`, float64((w*7+i)%5)/1000)
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { defer close(done); wait.Wait() }()
	seen, position := map[string]int{}, int64(0)
	for finished := false; ; {
		n := 0
		err := db.Query(t.Context(), func(r pgx.Rows) error {
			n++
			var name string
			err := r.Scan(&position, &name)
			seen[name]++
			return err
		}, `SELECT position, convert_from(data, 'UTF8') FROM records WHERE topic = 't' AND position > $1 ORDER BY position`, position)
		if err != nil {
			t.Fatal(err)
		}
		if finished && n == 0 {
			break
		}
		select {
		case <-done:
			finished = true
		default:
		}
	}
	for w := range writers {
		for i := range each {
			if name := fmt.Sprintf("%d/%d", w, i); seen[name] != 2 {
				t.Errorf("the reader saw %s %d times, want twice", name, seen[name])
			}
		}
	}
}

func message(w, i int) postgres.Message {
	return postgres.Message{Topic: "t", Type: "m", Data: []byte(strconv.Itoa(w) + "/" + strconv.Itoa(i)), Metadata: []byte("{}"), At: time.Unix(0, 0)}
}

// TestAnOpenTransactionStopsNobody holds a transaction that has written, in this database and in another of the server.
func TestAnOpenTransactionStopsNobody(t *testing.T) {
	t.Parallel()
	db, elsewhere := openDB(t), openDB(t)
	for _, of := range []*postgres.DB{db, elsewhere} {
		open, err := of.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = open.Rollback() }()
		if _, err := open.Exec(t.Context(), `INSERT INTO tenants (tenant_id, name, created_at) VALUES ('open', '', 0)`); err != nil {
			t.Fatal(err)
		}
		if err := open.Publish(t.Context(), []postgres.Message{message(0, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	publish(ctx, t, db)
	if n := count(t, db, `SELECT count(*) FROM records`); n != 1 {
		t.Errorf("%d records are visible, want the one that was committed", n)
	}
}

func publish(ctx context.Context, t *testing.T, db *postgres.DB) {
	t.Helper()
	if err := db.Update(ctx, func(ctx context.Context, tx *postgres.Tx) error {
		return tx.Publish(ctx, []postgres.Message{message(1, 1)})
	}); err != nil {
		t.Fatal(err)
	}
}

func count(t testing.TB, db *postgres.DB, sql string, args ...any) (n int64) {
	t.Helper()
	if err := db.Query(context.Background(), func(r pgx.Rows) error { return r.Scan(&n) }, sql, args...); err != nil {
		t.Fatal(err)
	}
	return n
}
