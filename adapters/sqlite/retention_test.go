package sqlite_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/event"
)

// aged is a store with one tenant, whose events were accepted so many days ago, in this order, and fanned out.
func aged(t *testing.T, days ...int) (*sqlite.DB, *sqlite.Store, time.Time) {
	t.Helper()
	db, now := openMigrated(t), time.Now()
	s := sqlite.NewStore(db, tagging{})
	if err := exec(t.Context(), db, `INSERT INTO tenants (tenant_id, name, created_at) VALUES ('acme', 'Acme', 1)`); err != nil {
		t.Fatal(err)
	}
	for i, ago := range days {
		e := intake.Accepted{Event: event.Sample(event.TargetImported, "acme"), At: now.AddDate(0, 0, -ago)}
		e.ID = fmt.Sprint("evt_", i)
		if err := s.AppendEvents(t.Context(), []intake.Accepted{e}); err != nil {
			t.Fatal(err)
		}
	}
	if err := exec(t.Context(), db, `INSERT INTO consumer_offsets (consumer_group, topic, position) SELECT ?, ?, max(position) FROM records`, fanout.Group, records.TopicEvents); err != nil {
		t.Fatal(err)
	}
	return db, s, now
}

// monthOld is before when all is old.
func monthOld(now time.Time) retention.Cutoffs {
	at := now.AddDate(0, 0, -30)
	return retention.Cutoffs{Now: now, Events: at, Attempts: at, DeadLetters: at}
}

func count(t *testing.T, db *sqlite.DB, table string) (n int) {
	t.Helper()
	rows, err := db.Query(t.Context(), "SELECT count(*) FROM "+table)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		if err := rows.Scan(&n); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

func TestALookThatFindsNothingOldWaitsForNoWriter(t *testing.T) {
	db, s, now := aged(t, 3, 2, 1)
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback() }()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if deleted, err := s.Purge(ctx, monthOld(now), 100); deleted != 0 || err != nil {
		t.Errorf("while somebody writes, %d deleted, %v", deleted, err)
	}
}

// To walk all that there is would be to do so once a minute, and all that is old with each batch.
func TestALookForWhatIsOldEndsAtItsLimit(t *testing.T) {
	db, s, now := aged(t, 50, 3, 3, 60, 2)
	purge := func(limit, left int) {
		t.Helper()
		for range 3 {
			if _, err := s.Purge(t.Context(), monthOld(now), limit); err != nil {
				t.Fatal(err)
			}
		}
		if events, named := count(t, db, "events"), count(t, db, "records"); events != left || named != left {
			t.Errorf("with a limit of %d, %d events and %d records are left, want %d", limit, events, named, left)
		}
	}
	purge(2, 4) // the two young ones are the limit
	purge(3, 3)
	now = now.AddDate(0, 0, 29)
	if _, err := s.Purge(t.Context(), monthOld(now), 100); err != nil {
		t.Fatal(err)
	}
	if events, named := count(t, db, "events"), count(t, db, "records"); events != 0 || named != 1 { // the newest record tells where fan-out is
		t.Errorf("%d events and %d records are left once all are old", events, named)
	}
}

// TestATimeThatHasNotComeKeepsNobody has an event and its record of ten years from now before all others: a clock was wrong.
func TestATimeThatHasNotComeKeepsNobody(t *testing.T) {
	db, s, now := aged(t, -3650, 50, 40, 2)
	for range 3 {
		if _, err := s.Purge(t.Context(), monthOld(now), 1); err != nil {
			t.Fatal(err)
		}
	}
	if events, named := count(t, db, "events"), count(t, db, "records"); events != 2 || named != 2 {
		t.Errorf("%d events and %d records are left, want that one and the young one", events, named)
	}
}

// TestATimeThatHasComeKeepsNobody has an event of ten days from now, which retention passes until then.
func TestATimeThatHasComeKeepsNobody(t *testing.T) {
	db, s, now := aged(t, -10, 50)
	for _, left := range []int{1, 0} {
		if _, err := s.Purge(t.Context(), monthOld(now), 100); err != nil {
			t.Fatal(err)
		}
		if events := count(t, db, "events"); events != left {
			t.Errorf("%d events are left, want %d", events, left)
		}
		now = now.AddDate(0, 0, 41)
	}
}

func TestWhatElseIsOldGoesToo(t *testing.T) {
	db, s, now := aged(t, 3)
	old, young := now.AddDate(0, 0, -31), now.AddDate(0, 0, -29)
	for _, at := range []time.Time{old, young} {
		for query, args := range map[string][]any{
			`INSERT INTO attempt_metrics VALUES ('acme', (SELECT live FROM projections WHERE name = 'metrics'), ?, 'sub_1', 'target.imported', 'succeeded', 1, 1)`: {at.Unix() / 60},
			`INSERT INTO disposition_hours VALUES ('acme', ?, 0, 0, 0, 0, 0, 0, 1, 1, NULL, NULL, 1, NULL, 0)`:                                                     {at.UnixMicro()},
			`INSERT INTO jobs VALUES ('acme', ?, NULL, '{}')`:                                                                                                      {"job_" + ulid.MustNew(ulid.Timestamp(at), nil).String()},
		} {
			if err := exec(t.Context(), db, query, args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	if deleted, err := s.Purge(t.Context(), monthOld(now), 100); err != nil {
		t.Fatal(err)
	} else if metrics, hours, jobs := count(t, db, "attempt_metrics"), count(t, db, "disposition_hours"), count(t, db, "jobs"); deleted != 3 || metrics != 1 || hours != 1 || jobs != 1 {
		t.Errorf("%d deleted; %d counts, %d hours and %d jobs are left, of one each that is old and one that is not", deleted, metrics, hours, jobs)
	}
}
