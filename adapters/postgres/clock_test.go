package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestWhoLivesIsJudgedByOneClock: two processes whose clocks are ten seconds apart leave each other what they hold.
func TestWhoLivesIsJudgedByOneClock(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	open := func(ahead time.Duration) (*Store, func() time.Time) {
		now := func() time.Time { return time.Now().Add(ahead).UTC().Truncate(time.Microsecond) }
		db, err := Open(Config{URL: url, Now: now})
		pgtest.Check(t, err)
		t.Cleanup(func() { _ = db.Close() })
		pgtest.Check(t, db.Migrate())
		return NewStore(db, nil), now
	}
	behind, behindNow := open(-6 * time.Second)
	ahead, aheadNow := open(4 * time.Second)
	runs(t, ahead.db)(ofLane, "sub_1", 1, 2)
	runs(t, ahead.db)(`UPDATE open_deliveries SET lease = CASE event_id WHEN 'evt_1' THEN 'inc_behind' ELSE 'inc_ahead' END, leased_at = 0`)
	pgtest.Check(t, behind.BeginIncarnation(t.Context(), "inc_behind", behindNow()))
	pgtest.Check(t, ahead.BeginIncarnation(t.Context(), "inc_ahead", aheadNow()))
	for name, judge := range map[string]struct {
		*Store
		now func() time.Time
	}{"ahead": {ahead, aheadNow}, "behind": {behind, behindNow}} {
		orphans, err := judge.Orphans(t.Context(), judge.now().Add(-dispatch.HeartbeatTimeout), 10)
		pgtest.Check(t, err)
		if len(orphans) > 0 {
			t.Errorf("the one %s takes over from %s, which has just been heard of", name, orphans[0].Lease)
		}
		// Nor does anybody live for longer.
		orphans, err = judge.Orphans(t.Context(), judge.now().Add(time.Second), 10)
		pgtest.Check(t, err)
		if len(orphans) != 2 {
			t.Errorf("a second from now the one %s would take over %d deliveries, want both", name, len(orphans))
		}
	}
}

// TestATakeoverThatWaitsKeepsItsHeartBeating: a process that stands still in a transaction has locked the rows that are to be taken over.
func TestATakeoverThatWaitsKeepsItsHeartBeating(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	s, ahead := NewStore(db, nil), time.Duration(0)
	takeover := dispatch.NewTakeover(s, s, func() time.Time { return time.Now().Add(ahead).UTC().Truncate(time.Microsecond) }, "inc_here", false)
	for ; ahead < dispatch.HeartbeatTimeout+time.Second; ahead += dispatch.HeartbeatInterval {
		_, err := takeover.HeartbeatStep(t.Context())
		pgtest.Check(t, err)
	}
	runs(t, db)(ofLane, "sub_1", 1, 3)
	runs(t, db)(`UPDATE open_deliveries SET lease = 'inc_still', leased_at = 0, due_at = 0`)
	still, err := db.Begin(t.Context())
	pgtest.Check(t, err)
	_, err = still.Exec(t.Context(), `UPDATE open_deliveries SET lease = NULL, version = version + 1`)
	pgtest.Check(t, err)
	ended := make(chan error, 1)
	go func() { _, err := takeover.TakeOverStep(t.Context()); ended <- err }()
	for end := time.Now().Add(time.Minute); countOf(t, db, waitingOrScheduled) == 3; <-time.After(10 * time.Millisecond) {
		if time.Now().After(end) || len(ended) > 0 {
			t.Fatal("the takeover does not wait for the rows")
		}
	}
	beat, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := takeover.HeartbeatStep(beat); err != nil {
		t.Error(err)
	}
	pgtest.Check(t, still.Rollback())
	pgtest.Check(t, <-ended)
	if left := countOf(t, db, `SELECT count(*) FROM open_deliveries WHERE lease = 'inc_still'`); left > 0 {
		t.Errorf("%d deliveries are not taken over", left)
	}
}

// TestAClockThatIsSetLeavesTheLivingWhatTheyHold: the first heartbeat after it already says when it was, to the others and by itself.
func TestAClockThatIsSetLeavesTheLivingWhatTheyHold(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	ahead := map[string]time.Duration{}
	clock := func(of string) func() time.Time {
		return func() time.Time { return time.Now().Add(ahead[of]).UTC().Truncate(time.Microsecond) }
	}
	open := func(of string) *Store {
		db, err := Open(Config{URL: url, Now: clock(of)})
		pgtest.Check(t, err)
		t.Cleanup(func() { _ = db.Close() })
		pgtest.Check(t, db.Migrate())
		return NewStore(db, nil)
	}
	set, still := open("set"), open("still")
	runs(t, still.db)(ofLane, "sub_1", 1, 2)
	runs(t, still.db)(`UPDATE open_deliveries SET lease = CASE event_id WHEN 'evt_1' THEN 'inc_set' ELSE 'inc_still' END, leased_at = 0`)
	pgtest.Check(t, set.BeginIncarnation(t.Context(), "inc_set", clock("set")()))
	for _, by := range []time.Duration{-time.Hour, time.Hour} {
		ahead["set"] += by
		pgtest.Check(t, set.Heartbeat(t.Context(), "inc_set", clock("set")()))
		pgtest.Check(t, still.Heartbeat(t.Context(), "inc_still", clock("still")()))
		for of, judge := range map[string]*Store{"set": set, "still": still} {
			for wait, want := range map[time.Duration]int{0: 0, dispatch.HeartbeatTimeout + time.Second: 2} {
				orphans, err := judge.Orphans(t.Context(), clock(of)().Add(wait-dispatch.HeartbeatTimeout), 10)
				pgtest.Check(t, err)
				if len(orphans) != want {
					t.Errorf("%v after one was set by %v, the one that is %s takes over %d deliveries, want %d: %+v", wait, by, of, len(orphans), want, orphans)
				}
			}
		}
	}
}
