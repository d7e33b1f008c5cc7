package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestWhoStandsStillInATransactionHoldsNobodyUpForGood: the server ends it, and the process finds out when it goes on.
func TestWhoStandsStillInATransactionHoldsNobodyUpForGood(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	db := openAt(t, url+param(url)+idleTimeout+"=200ms")
	waits := openAt(t, url) // for as long as it takes, however slow this machine is
	const locked = `SELECT pg_advisory_xact_lock(1)`
	still, err := db.Begin(t.Context())
	pgtest.Check(t, err)
	_, err = still.Exec(t.Context(), locked)
	pgtest.Check(t, err)
	goesOn, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	pgtest.Check(t, waits.Update(goesOn, func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, locked)
		return err
	}))
	if _, err = still.Exec(t.Context(), `SELECT 1`); !problem.Is(err, problem.Unavailable) {
		t.Errorf("going on gave %v", err)
	}
	if err = still.Commit(); err == nil {
		t.Error("what the server has ended was committed")
	}
}

// TestTheServerIsToldHowLongATransactionMayStandStill by the server's own connections, and through a PgBouncer by each transaction.
func TestTheServerIsToldHowLongATransactionMayStandStill(t *testing.T) {
	t.Parallel()
	direct := pgtest.Empty(t)
	for _, url := range []string{direct, pgtest.StartBouncer(t, direct).URL(direct)} {
		db, err := Open(Config{URL: url, DirectURL: direct})
		pgtest.Check(t, err)
		t.Cleanup(func() { _ = db.Close() })
		pgtest.Check(t, db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
			told, err := one(ctx, tx, value[string], `SHOW `+idleTimeout)
			if told != "1min" {
				t.Errorf("by %s it is told %q", url, told)
			}
			return err
		}))
	}
}
