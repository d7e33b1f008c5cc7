package postgres

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/sweep"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

const waitingForLock = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
const waitingOrScheduled = `SELECT (` + waitingForLock + `) + (SELECT count(*) FROM open_deliveries)`

// TestASweepThatIsNotedWhileItEndsIsDone: fan-out parks a delivery for a subscription that was resumed since, and notes a sweep, while
// the sweeper, which has not seen that delivery, ends the lane's sweep.
func TestASweepThatIsNotedWhileItEndsIsDone(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	s, lane, now := NewStore(db, nil), dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}, time.Now().UTC()
	runs(t, db)(`INSERT INTO sweeps (tenant_id, subscription_id, action, turn_at) VALUES ('acme', 'sub_1', 'release', 0)`)
	changes := delivery.ScheduleParked(delivery.Scheduled{At: now, ID: "dlv_1", Tenant: "acme", EventID: "evt_1", EventType: event.VisitReportApproved,
		SubscriptionID: "sub_1", SubscriptionVersion: 2, BodyNumber: 1}, "paused")
	parked, err := delivery.Fold(changes)
	pgtest.Check(t, err)
	plan := fanout.Plan{Scheduled: []fanout.Scheduled{{Delivery: parked, Changes: changes, AcceptedAt: now}}, Sweeps: []sweep.Sweep{{Lane: lane, Action: sweep.Release}}}

	fannedOut := make(chan error, 1)
	pgtest.Check(t, s.InTx(t.Context(), func(ctx context.Context) error { // as sweep.Sweeper does
		w, found, err := s.NextSweep(ctx)
		if err != nil || !found {
			return fmt.Errorf("found a sweep: %t, %w", found, err)
		}
		list, held, err := s.Swept(ctx, w.Lane, []delivery.Status{delivery.StatusParked}, 500)
		if err != nil || len(list) > 0 || held > 0 {
			return fmt.Errorf("%d to sweep, %d held: %w", len(list), held, err)
		}
		go func() { fannedOut <- s.Schedule(context.WithoutCancel(t.Context()), plan, func(bool) {}) }()
		for end := time.Now().Add(time.Minute); countOf(t, db, waitingOrScheduled) == 0; <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				return errors.New("fan-out neither waits for the sweeper nor goes on")
			}
		}
		return s.EndSweep(ctx, w, true, now)
	}))
	pgtest.Check(t, <-fannedOut)
	if parked, sweeps := countOf(t, db, `SELECT count(*) FROM open_deliveries WHERE status = 'parked'`), countOf(t, db, `SELECT count(*) FROM sweeps`); parked != 1 || sweeps != 1 {
		t.Errorf("%d parked deliveries and %d sweeps, want one of each", parked, sweeps)
	}
}

func countOf(t *testing.T, db *DB, sql string) int64 {
	t.Helper()
	n, err := one(t.Context(), db, value[int64], sql)
	pgtest.Check(t, err)
	return n
}

// gated is the queue behind a view, of which each row that is read waits for a lock.
const gated = `DO $$ BEGIN
CREATE FUNCTION wait() RETURNS boolean LANGUAGE plpgsql AS $f$ BEGIN PERFORM pg_advisory_xact_lock_shared(4711); RETURN true; END $f$;
ALTER TABLE open_deliveries RENAME TO queue;
CREATE VIEW open_deliveries AS SELECT * FROM queue WHERE wait();
END $$`

// TestASweepOverlooksNothingThatIsJustLeased: whoever leased a delivery before the subscription was paused commits that while the sweeper
// looks for what is held and for what is not. It has to be either.
func TestASweepOverlooksNothingThatIsJustLeased(t *testing.T) {
	t.Parallel()
	for name, statuses := range map[string][]delivery.Status{"parks": {delivery.StatusPending, delivery.StatusRetrying}, "cancels": delivery.Statuses()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := openEmpty(t)
			run := runs(t, db)
			run(ofLane, "sub_1", 1, 1)
			run(ofLane, "sub_2", 2, 2)
			run(`UPDATE open_deliveries SET lease = 'inc_2' WHERE subscription_id = 'sub_2'`) // is read by whoever counts what is held
			run(gated)
			leasing, err := db.Begin(t.Context())
			pgtest.Check(t, err)
			defer func() { _ = leasing.Rollback() }()
			for _, statement := range []string{`SELECT pg_advisory_xact_lock(4711)`, `UPDATE queue SET lease = 'inc_1' WHERE subscription_id = 'sub_1'`} {
				_, err := leasing.Exec(t.Context(), statement)
				pgtest.Check(t, err)
			}
			found := make(chan int, 1)
			go func() {
				list, held, err := NewStore(db, nil).Swept(t.Context(), dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}, statuses, 500)
				if err != nil {
					t.Error(err)
				}
				found <- len(list) + held
			}()
			for end := time.Now().Add(time.Minute); countOf(t, db, waitingForLock) == 0; <-time.After(10 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatal("the sweeper does not look")
				}
			}
			pgtest.Check(t, leasing.Commit())
			if n := <-found; n != 1 {
				t.Errorf("%d deliveries are to be swept or held, want the one that there is", n)
			}
		})
	}
}
