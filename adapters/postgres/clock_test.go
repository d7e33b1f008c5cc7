package postgres

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestAllProcessesGoByTheServersClock: two machines' clocks are hours apart.
func TestAllProcessesGoByTheServersClock(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	open := func(ahead time.Duration) *Store {
		db, err := Open(Config{URL: url, Now: func() time.Time { return time.Now().Add(ahead) }})
		pgtest.Check(t, err)
		t.Cleanup(func() { _ = db.Close() })
		if off := time.Until(db.Now()) - ahead; off.Abs() > time.Minute {
			t.Errorf("before the server has answered it is off by %s from the machine's", off)
		}
		pgtest.Check(t, db.Await(t.Context(), func(error) {}))
		pgtest.Check(t, db.Migrate())
		return NewStore(db, nil)
	}
	behind, ahead := open(-6*time.Hour), open(4*time.Hour)
	runs(t, ahead.db)(ofLane, "sub_1", 1, 2)
	runs(t, ahead.db)(`UPDATE open_deliveries SET lease = CASE event_id WHEN 'evt_1' THEN 'inc_behind' ELSE 'inc_ahead' END, leased_at = 0`)
	pgtest.Check(t, behind.BeginIncarnation(t.Context(), "inc_behind", behind.db.Now()))
	pgtest.Check(t, ahead.BeginIncarnation(t.Context(), "inc_ahead", ahead.db.Now()))
	for name, judge := range map[string]*Store{"ahead": ahead, "behind": behind} {
		orphans, err := judge.Orphans(t.Context(), judge.db.Now().Add(-dispatch.HeartbeatTimeout), judge.db.Now().Add(time.Second), 10)
		pgtest.Check(t, err)
		if len(orphans) > 0 {
			t.Errorf("the one %s takes over from %s, which has just been heard of", name, orphans[0].Lease)
		}
		// Nor does anybody live for longer.
		orphans, err = judge.Orphans(t.Context(), judge.db.Now().Add(time.Second), time.Time{}, 10)
		pgtest.Check(t, err)
		if len(orphans) != 2 {
			t.Errorf("a second from now the one %s would take over %d deliveries, want both", name, len(orphans))
		}
	}
}

// TestAHeartbeatTellsTheTime: the server's clock was set, or another server is there.
func TestAHeartbeatTellsTheTime(t *testing.T) {
	t.Parallel()
	s := NewStore(openEmpty(t), nil)
	for _, off := range []time.Duration{time.Hour, -time.Hour, time.Minute} {
		s.db.clock.set(time.Now().Add(off), time.Now())
		pgtest.Check(t, s.Heartbeat(t.Context(), "inc_1", s.db.Now()))
		if by := time.Until(s.db.Now()); by.Abs() > off.Abs()/2 {
			t.Errorf("it was off by %s, and is by %s", off, by)
		}
	}
}

// TestTheClock is read at times that are as far apart as they are here.
func TestTheClock(t *testing.T) {
	for name, c := range map[string]struct {
		ahead   time.Duration // of this one before the answer
		took    time.Duration // by the answer
		at      time.Duration // when it was given, after it was asked for
		off, by time.Duration // how far ahead this one is then, give or take
	}{
		"in step":                                {0, 10 * time.Millisecond, 5 * time.Millisecond, 0, 0},
		"nearly":                                 {-mostOff, 10 * time.Millisecond, 5 * time.Millisecond, -mostOff, 0},
		"further ahead":                          {2 * mostOff, 10 * time.Millisecond, 5 * time.Millisecond, 0, 10 * time.Millisecond},
		"further behind":                         {-2 * mostOff, 10 * time.Millisecond, 5 * time.Millisecond, 0, 10 * time.Millisecond},
		"an hour ahead":                          {time.Hour, 10 * time.Millisecond, 5 * time.Millisecond, 0, 10 * time.Millisecond},
		"an hour behind":                         {-time.Hour, 10 * time.Millisecond, 5 * time.Millisecond, 0, 10 * time.Millisecond},
		"in step, and the server stood still":    {0, time.Minute, 59 * time.Second, 0, 0},
		"in step, and the answer stood still":    {0, time.Minute, time.Second, 0, 0},
		"ahead, which a late answer cannot tell": {30 * time.Second, time.Minute, 45 * time.Second, 30 * time.Second, 0},
		"an hour ahead, and a late answer":       {time.Hour, time.Minute, 30 * time.Second, 0, time.Minute},
		"an hour behind, and a late answer":      {-time.Hour, time.Minute, 30 * time.Second, 0, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var clock clock
				start := time.Now()
				clock.set(start.Add(c.ahead), start)
				<-time.After(c.took)
				clock.learn(start, start.Add(c.at))
				if off := time.Until(clock.now()); (off - c.off).Abs() > c.by {
					t.Errorf("it is ahead by %s, want %s give or take %s", off, c.off, c.by)
				}
				<-time.After(time.Hour)
				if off := time.Until(clock.now()); (off - c.off).Abs() > c.by {
					t.Errorf("an hour later it is ahead by %s", off)
				}
			})
		})
	}
}

// TestATakeoverThatWaitsKeepsItsHeartBeating: a process that stands still in a transaction has locked the rows that are to be taken over.
func TestATakeoverThatWaitsKeepsItsHeartBeating(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	s, began, ahead := NewStore(db, nil), db.Now(), time.Duration(0)
	takeover := dispatch.NewTakeover(s, s, func() time.Time { return began.Add(ahead) }, "inc_here", false)
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
