package postgres

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestWhatIsTriedAgain has what the server says when it gave way to others, and what it would say again.
func TestWhatIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		refused pgconn.PgError
		again   bool
	}{
		{pgconn.PgError{Code: "23514", TableName: "events_default"}, true}, // its week was made meanwhile
		{pgconn.PgError{Code: "23514", TableName: "events"}, false},
		{pgconn.PgError{Code: "23502", TableName: "events_default"}, false},
		{pgconn.PgError{Code: "55P03"}, true}, // a limit of the operator's
	} {
		err := fmt.Errorf("append: %w", &c.refused)
		if repeatable(err) != c.again || problem.Is(translate(t.Context(), err), problem.Unavailable) != c.again {
			t.Errorf("%s of %q is tried again: %t", c.refused.Code, c.refused.TableName, !c.again)
		}
	}
	if err := fmt.Errorf("%w: %w", errUsed, &pgconn.PgError{Code: "55P03"}); repeatable(err) {
		t.Error("who gives up soon comes again at once")
	}
}

// TestWhatIsRefusedForGood has what fan-out sets an event aside for: only what the server would say again.
func TestWhatIsRefusedForGood(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		refused pgconn.PgError
		good    bool
	}{
		{pgconn.PgError{Code: "23505", ConstraintName: "bodies_w2958_pkey"}, true},
		{pgconn.PgError{Code: "22021"}, true},                                       // a zero byte in a text
		{pgconn.PgError{Code: "23505", ConstraintName: "events_w2958_pkey"}, false}, // another process has just accepted it
		{pgconn.PgError{Code: "23514", TableName: "bodies_default"}, false},
		{pgconn.PgError{Code: "22012"}, false}, // what a statement decided, such as that a turn was taken
		{pgconn.PgError{Code: "40001"}, false},
		{pgconn.PgError{Code: "53100"}, false},
		{pgconn.PgError{Code: "54000"}, false}, // transaction IDs have run out, until an operator has had the tables vacuumed
	} {
		if err := translate(t.Context(), fmt.Errorf("commit: %w", &c.refused)); errors.Is(err, fanout.ErrRefused) != c.good {
			t.Errorf("%s of %q is refused for good: %t", c.refused.Code, c.refused.ConstraintName, !c.good)
		}
	}
}

// TestWhomTheServerThrowsOutComesAgain has the limits of an operator's by which it ends a connection: no request is to fail for good for one.
func TestWhomTheServerThrowsOutComesAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"25P03", "25P04", "57P05"} {
		if err := translate(t.Context(), fmt.Errorf("append: %w", &pgconn.PgError{Severity: "FATAL", Code: code})); !problem.Is(err, problem.Unavailable) {
			t.Errorf("%s is told as %v", code, err)
		}
	}
}

// TestAServerThatLetsNobodyIn is as good as away for a process that runs: its user's password was changed, or the promoted server does not
// know this machine.
func TestAServerThatLetsNobodyIn(t *testing.T) {
	t.Parallel()
	stranger, err := url.Parse(pgtest.Empty(t))
	pgtest.Check(t, err)
	stranger.User = url.User("nobody_here")
	db, err := Open(Config{URL: stranger.String()})
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	if err := NewStore(db, nil).Ping(t.Context()); !problem.Is(err, problem.Unavailable) || !strings.Contains(err.Error(), "does not let the service in") {
		t.Errorf("got %v", err)
	}
}
