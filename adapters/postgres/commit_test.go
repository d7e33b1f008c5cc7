package postgres

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// An older backup, or a standby that was behind, takes the place of a server whose answer to a commit was lost. It has not
// come to that transaction yet, and says so with an error, which is an answer.
func TestALostAnswerThatNobodyKnowsOf(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{URL: pgtest.Empty(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var told []bool
	tx.WhenEnded(func(committed bool) { told = append(told, committed) })
	tx.xid = "9000000000000000000"
	if err := tx.resolve(errors.New("cut off")); !problem.Is(err, problem.Unavailable) || errors.Is(err, errUnknown) {
		t.Errorf("the commit gave %v", err)
	}
	if !slices.Equal(told, []bool{false}) {
		t.Errorf("who waited was told %v, want that it is undone", told)
	}
}

// TestOnlyItsOwnCommitIsBelieved has another transaction committed under the ID of one that was never written down, as after a crash of
// the server.
func TestOnlyItsOwnCommitIsBelieved(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	s := NewStore(db, nil)
	e := intake.Accepted{Event: event.Sample(event.VisitReportApproved, "acme"), At: time.Now()}
	change := appended{Record: records.Record{Topic: records.TopicSubscriptions, Type: "t", Tenant: "acme", Stream: "subscription/sub_1", Version: 1, Data: []byte("{}"), Metadata: []byte("{}"), At: e.At}}
	note := func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) SELECT 'acme', 's' || count(*), 'release', 0 FROM sweeps`)
		return err
	}
	run := func(do func(ctx context.Context, tx *Tx) error) (ran *Tx) {
		pgtest.Check(t, db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
			ran = tx
			return errors.Join(note(ctx, tx), do(ctx, tx))
		}))
		return ran
	}
	other := run(func(context.Context, *Tx) error { return nil })
	for what, tx := range map[string]*Tx{
		"an event":           run(func(ctx context.Context, _ *Tx) error { return s.AppendEvents(ctx, []intake.Accepted{e}) }),
		"a record":           run(func(ctx context.Context, tx *Tx) error { return tx.append(ctx, change) }),
		"nothing in the log": other,
	} {
		for _, is := range []struct {
			xid  string
			want bool
		}{{tx.xid, true}, {other.xid, tx == other}} {
			tx.xid = is.xid
			if committed, err := tx.outcome(t.Context()); err != nil || committed != is.want {
				t.Errorf("%s, by the ID %s: committed is %t, %v; want %t", what, is.xid, committed, err, is.want)
			}
		}
	}
}

// TestWhatALostAnswerIs holds that the server's own words decide, whatever language it speaks.
func TestWhatALostAnswerIs(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{errors.New("cut off"), true},
		{&pgconn.PgError{Severity: "ERROR", SeverityUnlocalized: "ERROR"}, false},
		{&pgconn.PgError{Severity: "FEHLER", SeverityUnlocalized: "ERROR"}, false},
		{&pgconn.PgError{Severity: "PANIK", SeverityUnlocalized: "PANIC"}, true},
		{&pgconn.PgError{Severity: "FATAL"}, true},
	} {
		if got := ambiguous(c.err); got != c.want {
			t.Errorf("%#v: %t, want %t", c.err, got, c.want)
		}
	}
}

// TestAChangeTakesTheRowAndThenTheLane has an outcome noted in a subscription's row, which then disables it, while an admin changes it: who
// waits for the row holds no lock of the lane.
func TestAChangeTakesTheRowAndThenTheLane(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	s := NewStore(db, nil)
	before := subscription.Subscription{Tenant: "acme", ID: "sub_1", Status: subscription.StatusActive, Version: 1}
	runs(t, db)(`INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state) VALUES ('acme', 'sub_1', 'active', 1, 16, '{}')`)
	changed := make(chan error, 1)
	pgtest.Check(t, db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
		_, err := tx.Exec(ctx, `UPDATE subscriptions SET failures = 1 WHERE tenant_id = 'acme' AND subscription_id = 'sub_1'`)
		if err != nil {
			return err
		}
		go func() {
			after := before
			after.Version = 2
			changed <- s.AppendSubscription(t.Context(), before, after, nil, subscriptions.Actor{})
		}()
		for waiting := 0; waiting == 0; {
			waiting, err = one(t.Context(), db, value[int],
				`SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
			if err != nil {
				return err
			}
		}
		if _, err := tx.Exec(ctx, `SET LOCAL lock_timeout = '500ms'`); err != nil {
			return err
		}
		return tx.moveLanes(ctx)
	}))
	pgtest.Check(t, <-changed)
}

// TestWhatNobodyLearnedOfIsGivenBack has nobody get through at first.
func TestWhatNobodyLearnedOfIsGivenBack(t *testing.T) {
	t.Parallel()
	direct := openEmpty(t)
	runs(t, direct)(ofLane, "sub_1", 1, 1)
	runs(t, direct)(`UPDATE open_deliveries SET lease = 'inc_1', leased_at = 0`)
	id, err := one(t.Context(), direct, value[string], `SELECT delivery_id FROM open_deliveries`)
	pgtest.Check(t, err)
	version, err := one(t.Context(), direct, value[int64], `SELECT version FROM open_deliveries`)
	pgtest.Check(t, err)
	p := pgtest.NewProxy(t, direct.pool.Config().ConnString())
	db, err := Open(Config{URL: p.URL})
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	s, leased := NewStore(db, nil), []dispatch.Leased{{Delivery: delivery.Delivery{Tenant: "acme", SubscriptionID: "sub_1", ID: id, Version: version}}}
	p.Shut(true)
	over := make(chan struct{})
	go func() {
		defer close(over)
		s.giveBackLate(t.Context(), "inc_1", leased)
	}()
	for range 3 { // so that its first try has failed, too
		if err := s.GiveBack(t.Context(), "inc_1", leased); err == nil {
			t.Error("it was given back where nobody gets through")
		}
	}
	p.Shut(false)
	<-over
	held, err := one(t.Context(), direct, value[int], `SELECT count(*) FROM open_deliveries WHERE lease IS NOT NULL`)
	if err != nil || held != 0 {
		t.Errorf("%d are leased still, %v", held, err)
	}
}

// TestAPanicAtTheCommitIsItsError, and costs the others neither the process nor a connection.
func TestAPanicAtTheCommitIsItsError(t *testing.T) {
	t.Parallel()
	db := openAt(t, pgtest.Empty(t))
	for range 2 * db.config.MaxConns {
		told := make(chan bool, 1)
		err := db.Update(t.Context(), func(ctx context.Context, tx *Tx) error {
			tx.WhenEnded(func(committed bool) { told <- committed })
			b := &pgx.Batch{}
			b.Queue(`SELECT 1`).Exec(func(pgconn.CommandTag) error { panic("odd") })
			return tx.writeLater(ctx, b)
		})
		if err == nil || !strings.Contains(err.Error(), "odd") || <-told {
			t.Fatalf("the commit gave %v", err)
		}
	}
}
