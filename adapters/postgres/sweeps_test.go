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

const waitingOrScheduled = `SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
+ (SELECT count(*) FROM open_deliveries)`

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
