package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// write changes something before the log is appended to.
func write(ctx context.Context, tx *postgres.Tx) error {
	_, err := tx.Exec(ctx, `INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) SELECT 'one', 's' || count(*), 'release', 0 FROM sweeps`)
	return err
}

// TestALostAnswerToACommit cuts the connection at the commit, by itself or together with what is appended: before the server has it, and
// after.
func TestALostAnswerToACommit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cut       pgtest.Cut
		committed bool
		first     func(ctx context.Context, tx *postgres.Tx) error
	}{
		"the server never got it":                  {pgtest.Cut{Word: "COMMIT"}, false, nil},
		"the server has committed it":              {pgtest.Cut{Word: "COMMIT", Forward: true}, true, nil},
		"the server got what is before it":         {pgtest.Cut{Word: "COMMIT"}, false, write},
		"the server has committed it with the log": {pgtest.Cut{Word: "COMMIT", Forward: true}, true, write},
		"the server never got what is with it":     {pgtest.Cut{Word: "INSERT INTO records"}, false, write},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := migrated.Copy(t)
			p := pgtest.NewProxy(t, server)
			db := openURL(t, postgres.Config{URL: p.URL, DirectURL: server})
			var told []bool
			err := db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
				tx.WhenEnded(func(committed bool) { told = append(told, committed) })
				if c.first != nil {
					pgtest.Check(t, c.first(ctx, tx))
				}
				p.Arm(c.cut)
				return tx.Publish(ctx, message(0, 0))
			})
			if c.committed && err != nil || !c.committed && !problem.Is(err, problem.Unavailable) {
				t.Errorf("the commit gave %v", err)
			}
			if p.Armed() || len(told) != 1 || told[0] != c.committed {
				t.Errorf("cut is %t, who waited was told %v, want %t once", !p.Armed(), told, c.committed)
			}
			if n := count(t, db, `SELECT count(*) FROM records`); (n == 1) != c.committed {
				t.Errorf("%d records were kept", n)
			}
			if n := count(t, db, `SELECT count(*) FROM sweeps`); (n == 1) != (c.committed && c.first != nil) {
				t.Errorf("%d rows were kept", n)
			}
		})
	}
}

// TestATransactionIsTwoRoundTrips counts those of one that appends: BEGIN goes with what is written first, and COMMIT with what is appended
// to the log behind that.
func TestATransactionIsTwoRoundTrips(t *testing.T) {
	t.Parallel()
	server := migrated.Copy(t)
	p := pgtest.NewProxy(t, server)
	db := openURL(t, postgres.Config{URL: p.URL, DirectURL: server})
	store := postgres.NewStore(db, tagging{})
	pgtest.Check(t, execute(t.Context(), db, `INSERT INTO tenants (tenant_id, name, created_at) VALUES ('acme', 'Acme', 0)`))
	publish := func(ctx context.Context, tx *postgres.Tx) error {
		return tx.Publish(ctx, message(0, 0))
	}
	for what, c := range map[string]struct {
		want int64
		do   func(ctx context.Context, tx *postgres.Tx) error
	}{
		"nothing":   {0, func(context.Context, *postgres.Tx) error { return nil }},
		"to append": {2, publish},
		"to write":  {2, write},
		"to change what is read": {2, func(ctx context.Context, tx *postgres.Tx) error {
			_, err := store.CountDay(ctx, time.Now(), map[tenant.ID]int{"acme": 1})
			return errors.Join(err, publish(ctx, tx))
		}},
		"to look and schedule, if a condition holds": {2, func(ctx context.Context, tx *postgres.Tx) error {
			tx.Require(errors.New("it does not"), `$1::text = 'acme'`, "acme")
			lane := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}
			_, _, err := store.ResolveFor(ctx, nil, []dispatch.Lane{lane})
			plan := fanout.Plan{Sweeps: []sweep.Sweep{{Lane: lane, Action: sweep.Park}}}
			return errors.Join(err, store.Schedule(ctx, plan, func(bool) {}), publish(ctx, tx))
		}},
		"to write and append": {2, func(ctx context.Context, tx *postgres.Tx) error { return errors.Join(write(ctx, tx), publish(ctx, tx)) }},
	} {
		pgtest.Check(t, db.Update(t.Context(), c.do)) // which prepares its statements
		before := p.Asked()
		pgtest.Check(t, db.Update(t.Context(), c.do))
		if n := p.Asked() - before; n != c.want {
			t.Errorf("%s took %d round trips, want %d", what, n, c.want)
		}
	}
}

// TestWhatTheServerRefusesIsNotCommitted has it refuse what COMMIT was sent with.
func TestWhatTheServerRefusesIsNotCommitted(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: migrated.Copy(t)})
	err := db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		broken := message(0, 0)
		broken.Type = "\x00"
		return errors.Join(write(ctx, tx), tx.Publish(ctx, message(0, 0), broken))
	})
	if err == nil || problem.Is(err, problem.Unavailable) {
		t.Errorf("what cannot be stored gave %v", err)
	}
	if n := count(t, db, `SELECT (SELECT count(*) FROM records) + (SELECT count(*) FROM sweeps)`); n != 0 {
		t.Errorf("%d rows were kept", n)
	}
}

// TestAConditionThatDoesNotHoldUndoesAll asks for it together with what is sent first: a statement, what is scheduled or the log.
func TestAConditionThatDoesNotHoldUndoesAll(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: migrated.Copy(t)})
	store := postgres.NewStore(db, tagging{})
	refused := errors.New("it does not hold")
	gated := fanout.Plan{Gated: []fanout.Gated{{Tenant: "acme", EventID: "evt_1", SubscriptionID: "sub_1"}}}
	gatedToo := fanout.Plan{Gated: []fanout.Gated{{Tenant: "acme", EventID: "evt_2", SubscriptionID: "sub_1"}}}
	for name, c := range map[string]struct {
		atOnce bool // what is done fails, and not the commit alone
		do     func(ctx context.Context, tx *postgres.Tx) error
	}{
		"a statement": {true, write},
		"a plan":      {false, func(ctx context.Context, _ *postgres.Tx) error { return store.Schedule(ctx, gated, func(bool) {}) }},
		"a plan and a statement": {true, func(ctx context.Context, tx *postgres.Tx) error {
			return errors.Join(store.Schedule(ctx, gatedToo, func(bool) {}), write(ctx, tx))
		}},
		"a record": {false, func(ctx context.Context, tx *postgres.Tx) error {
			return tx.Publish(ctx, message(0, 0))
		}},
	} {
		var done error
		requiring := func(owner string) error {
			return db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
				tx.Require(refused, `$1::text = 'acme'`, owner)
				done = c.do(ctx, tx)
				return nil
			})
		}
		pgtest.Check(t, requiring("acme"))
		err := requiring("another")
		if !errors.Is(err, refused) || errors.Is(done, refused) != c.atOnce {
			t.Errorf("%s gave %v, and its commit %v", name, done, err)
		}
	}
	if err := db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
		tx.Require(refused, `$1::text = NULL`, "acme")
		return write(ctx, tx)
	}); !errors.Is(err, refused) {
		t.Errorf("a condition of which nobody knows gave %v", err)
	}
	if n := count(t, db, `SELECT (SELECT count(*) FROM records) + (SELECT count(*) FROM sweeps) + (SELECT count(*) FROM gated_events)`); n != 5 {
		t.Errorf("%d rows were kept, want those of when it held", n)
	}
}

// TestALongPlanIsWrittenAtOnce has plans that cannot be stored, of as many deliveries as are scheduled in one go, and of one more: what takes
// long has the time of who schedules, and not that of a commit.
func TestALongPlanIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: migrated.Copy(t)})
	store := postgres.NewStore(db, tagging{})
	first := delivery.Schedule(delivery.Scheduled{At: time.Now(), ID: "dlv_1", Tenant: "acme", EventID: "evt_1", EventType: event.VisitReportApproved, SubscriptionID: "sub_1", SubscriptionVersion: 1, BodyNumber: 1})
	d, err := delivery.Fold(first)
	pgtest.Check(t, err)
	for n, atOnce := range map[int]bool{fanout.DefaultAtOnce: false, fanout.DefaultAtOnce + 1: true} {
		var scheduled error
		err := db.Update(t.Context(), func(ctx context.Context, _ *postgres.Tx) error {
			twice := slices.Repeat([]fanout.Scheduled{{Delivery: d, Changes: first}}, n)
			scheduled = store.Schedule(ctx, fanout.Plan{Scheduled: twice}, func(bool) {})
			return nil
		})
		if err == nil || (scheduled != nil) != atOnce {
			t.Errorf("%d deliveries of one ID: to schedule them gave %v, and to commit %v", n, scheduled, err)
		}
	}
}

// TestTheLastStatementGoesWithTheCommit writes by it in the round trip of the log, or undoes all when it did not find its row.
func TestTheLastStatementGoesWithTheCommit(t *testing.T) {
	t.Parallel()
	server := migrated.Copy(t)
	p := pgtest.NewProxy(t, server)
	db := openURL(t, postgres.Config{URL: p.URL, DirectURL: server})
	gone := errors.New("no such row")
	last := func(owner string, first ...func(ctx context.Context, tx *postgres.Tx) error) error {
		return db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			for _, first := range first {
				pgtest.Check(t, first(ctx, tx))
			}
			tx.ExecLast(gone, `INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) VALUES ($1, 's', 'release', 0) ON CONFLICT DO NOTHING`, owner)
			return tx.Publish(ctx, message(0, 0))
		})
	}
	pgtest.Check(t, last("one"))
	pgtest.Check(t, last("two", write))
	before := p.Asked()
	pgtest.Check(t, last("three"))
	pgtest.Check(t, last("four", write))
	if n := p.Asked() - before; n != 4 {
		t.Errorf("two transactions took %d round trips, want 4", n)
	}
	for _, err := range []error{last("two"), last("two", write)} {
		if !errors.Is(err, gone) || problem.Is(err, problem.Unavailable) {
			t.Errorf("a row that was there gave %v", err)
		}
	}
	if n := count(t, db, `SELECT count(*) FROM records`); n != 4 {
		t.Errorf("%d records were kept, want 4", n)
	}
	if n := count(t, db, `SELECT count(*) FROM sweeps`); n != 6 {
		t.Errorf("%d rows were kept, want 6", n)
	}
}

// TestAConnectionThatBrokeWhileIdleIsReplaced cuts it between two transactions: the second has asked for nothing yet.
func TestAConnectionThatBrokeWhileIdleIsReplaced(t *testing.T) {
	t.Parallel()
	server := migrated.Copy(t)
	p := pgtest.NewProxy(t, server)
	db := openURL(t, postgres.Config{URL: p.URL, DirectURL: server})
	for name, use := range map[string]func(ctx context.Context, tx *postgres.Tx) error{
		"append": func(ctx context.Context, tx *postgres.Tx) error {
			return tx.Publish(ctx, message(0, 0))
		},
		"write": func(ctx context.Context, tx *postgres.Tx) error {
			_, err := tx.Exec(ctx, `DELETE FROM sweeps WHERE tenant_id = $1`, "none")
			return err
		},
	} {
		for range 2 {
			if err := db.Update(t.Context(), use); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			p.Shut(true)
			p.Shut(false)
		}
	}
	if n := count(t, openURL(t, postgres.Config{URL: server}), `SELECT count(*) FROM records`); n != 2 {
		t.Errorf("%d records were kept, want 2", n)
	}
}

// TestTheServerIsAwayForAWhile kills a server under load and starts it again.
func TestTheServerIsAwayForAWhile(t *testing.T) {
	t.Parallel()
	server, err := pgtest.Start() // which waits for the disk
	pgtest.Check(t, err)
	defer func() { _ = server.Stop() }()
	db := openURL(t, postgres.Config{URL: server.URL})
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	kept, ended := 0, make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			err := db.Update(ctx, func(ctx context.Context, tx *postgres.Tx) error {
				return tx.Publish(ctx, message(0, 0))
			})
			switch {
			case err == nil:
				kept++
			case ctx.Err() == nil && !problem.Is(err, problem.Unavailable):
				t.Errorf("while the server is away: %v", err)
			}
		}
	}()
	for range 3 {
		before := count(t, db, `SELECT count(*) FROM records`)
		for end := time.Now().Add(patience); count(t, db, `SELECT count(*) FROM records`) < before+20; {
			if time.Now().After(end) {
				t.Fatal("nothing is written")
			}
		}
		server.Kill()
		if err := postgres.NewStore(db, tagging{}).Ping(t.Context()); !problem.Is(err, problem.Unavailable) {
			t.Errorf("a server that is away gave %v", err)
		}
		if err := server.Resume(); err != nil {
			t.Fatal(err)
		}
		if err := db.Await(t.Context(), func(error) {}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	<-ended
	// What was told "kept" is there; what was not told is there at most once for each kill, since it was being committed.
	if n := int(count(t, db, `SELECT count(*) FROM records`)); n < kept || n > kept+4 {
		t.Errorf("%d records are there, %d were told to be kept", n, kept)
	}
}

func TestAFullPoolIsUnavailable(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: migrated.Copy(t), MaxConns: 4})
	for range 4 {
		tx, err := db.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = tx.Rollback() }()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := db.Begin(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("who waited for less than the pool's limit got %v", err)
	}
	if _, err := db.Begin(t.Context()); !problem.Is(err, problem.Unavailable) {
		t.Errorf("who waited for the pool's limit got %v", err)
	}
}

func TestErrorsOfTheStartAreClear(t *testing.T) {
	t.Parallel()
	const password = "hushhush"
	missing := strings.Replace(pgtest.Empty(t), "ordinavo_test_", "no_such_", 1)
	missing = strings.Replace(missing, "ordinavo@", "ordinavo:"+password+"@", 1)
	db := openURL(t, postgres.Config{URL: missing})
	err := db.Await(t.Context(), func(err error) { t.Errorf("waited for what waiting does not mend: %v", err) })
	if err == nil || !strings.Contains(err.Error(), "no_such_") || strings.Contains(err.Error(), password) {
		t.Errorf("a database that is not there gave %v", err)
	}
	if _, err := postgres.Open(postgres.Config{URL: "postgres://me:" + password + "@host:notaport/db"}); err == nil || strings.Contains(err.Error(), password) {
		t.Errorf("a wrong URL gave %v", err)
	}
}
