package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestWhoLostTheLeadHasNotLed: it collides while another process waits to delete, which does so before it comes again.
func TestWhoLostTheLeadHasNotLed(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	s := NewStore(db, nil)
	other, err := pgx.Connect(t.Context(), db.config.URL)
	pgtest.Check(t, err)
	defer func() { _ = other.Close(context.WithoutCancel(t.Context())) }()
	for _, collides := range []bool{true, false} {
		runs, leads := 0, make(chan error, 1)
		led, err := s.leading(t.Context(), func(context.Context, *Tx) error {
			runs++
			if !collides {
				return nil
			}
			go func() {
				_, err := other.Exec(t.Context(), `SELECT pg_advisory_lock($1::bigint)`, retentionLock)
				leads <- err
			}()
			for end := time.Now().Add(time.Minute); countOf(t, db, `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`) == 0; {
				if time.Now().After(end) {
					return errors.New("nobody waits for the lead")
				}
			}
			return &pgconn.PgError{Code: codeSerializationFailure}
		})
		if led == collides || err != nil || runs != 1 {
			t.Errorf("led: %t in %d runs, %v", led, runs, err)
		}
		if collides {
			pgtest.Check(t, <-leads)
			_, err := other.Exec(t.Context(), `SELECT pg_advisory_unlock($1::bigint)`, retentionLock)
			pgtest.Check(t, err)
		}
	}
}
