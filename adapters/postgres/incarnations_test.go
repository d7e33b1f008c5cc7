package postgres_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestAStartFindsOutWhoIsGone has one process end without a word, and another live on, when a third starts.
func TestAStartFindsOutWhoIsGone(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	now := time.Now()
	begin := func(incarnation string) *postgres.DB {
		db := openURL(t, postgres.Config{URL: url})
		watch := db.WatchTopic("t")
		<-watch.C // it listens, or will soon
		store := postgres.NewStore(db, tagging{})
		if err := store.BeginIncarnation(t.Context(), incarnation, now); err != nil {
			t.Fatal(err)
		}
		// Its heartbeat says so as soon as its listening connection is there.
		for end := time.Now().Add(patience); count(t, db, `SELECT count(session) FROM incarnations WHERE incarnation = $1`, incarnation) == 0; {
			if err := store.Heartbeat(t.Context(), incarnation, now); err != nil {
				t.Fatal(err)
			}
			if time.Now().After(end) {
				t.Fatal("the listening connection was not made")
			}
		}
		return db
	}
	gone := begin("inc_gone")
	begin("inc_lives")
	_ = gone.Close()
	observer := openURL(t, postgres.Config{URL: url})
	for end := time.Now().Add(patience); count(t, observer, `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ordinavo ' || $1::text`, gone.Name()) > 0; {
		if time.Now().After(end) {
			t.Fatal("the connection of a closed database is still there")
		}
	}
	third := begin("inc_third")
	for incarnation, want := range map[string]int64{"inc_gone": 0, "inc_lives": 1, "inc_third": 1} {
		if got := count(t, third, `SELECT count(*) FROM incarnations WHERE incarnation = $1`, incarnation); got != want {
			t.Errorf("%s has %d rows, want %d", incarnation, got, want)
		}
	}
}

// TestAKilledProcessIsDeadBeforeItsSilenceSaysSo: the server has ended its listening connection. One that lost its connection alone, or
// never had one, is alive as long as it was heard of.
func TestAKilledProcessIsDeadBeforeItsSilenceSaysSo(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: migrated.Copy(t)})
	watch := db.WatchTopic("t")
	<-watch.C
	now := time.Now().Truncate(time.Microsecond)
	ago := func(d time.Duration) int64 { return now.Add(-d).UnixMicro() }
	for _, sql := range []string{
		`INSERT INTO tenants (tenant_id, name, created_at) VALUES ('acme', 'Acme', 0)`,
		`INSERT INTO subscriptions (tenant_id, subscription_id, status, version, max_in_flight, state) VALUES ('acme', 'sub_1', 'active', 1, 16, '{}')`,
	} {
		if err := execute(t.Context(), db, sql); err != nil {
			t.Fatal(err)
		}
	}
	here := "ordinavo " + db.Name()
	for _, p := range []struct {
		name    string
		beat    time.Duration
		session any
	}{
		{"killed", 1600 * time.Millisecond, "ordinavo killed"}, {"reconnects", 1400 * time.Millisecond, "ordinavo reconnects"},
		{"listens", 4 * time.Second, here}, {"cannot_listen", 4 * time.Second, nil}, {"silent", 6 * time.Second, here},
	} {
		for sql, args := range map[string][]any{
			`INSERT INTO incarnations (incarnation, started_at, heartbeat_at, session) VALUES ($1, $2, $2, $3)`: {p.name, ago(p.beat), p.session},
			`INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number, warnings, status, version, attempts, failures,
abandonments, created_at, updated_at, due_at, accepted_at, traceparent, lease, leased_at) VALUES ('acme', 'dlv_' || $1::text, 'evt_1', 't', 'sub_1', 1, 1, '[]', 'pending', 1, 0, 0, 0, 1, 1, 1, 1, '', $1, 1)`: {p.name},
		} {
			if err := execute(t.Context(), db, sql, args...); err != nil {
				t.Fatal(err)
			}
		}
	}
	taken := takenFrom(t, postgres.NewStore(db, tagging{}), now)
	// Who has just lost its own listening connection, or has just made it, waits for the others.
	waits := func() bool {
		if err := execute(t.Context(), db, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1`, here); err != nil {
			t.Fatal(err)
		}
		return slices.Equal(taken(), []string{"silent"})
	}
	eventually(t, waits)
	eventually(t, func() bool { return slices.Equal(taken(), []string{"killed", "silent"}) }) // it has connected again, three seconds ago
	eventually(t, waits)
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !is(); <-time.After(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come")
		}
	}
}

// takenFrom lists from whom the store would take over.
func takenFrom(t *testing.T, store *postgres.Store, now time.Time) func() []string {
	return func() (held []string) {
		t.Helper()
		orphans, err := store.Orphans(t.Context(), now.Add(-dispatch.HeartbeatTimeout), time.Time{}, 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range orphans {
			held = append(held, o.Lease)
		}
		slices.Sort(held)
		return held
	}
}

// TestWhoseServerWasAwayForgetsNobody: others have yet to make their listening connections again.
func TestWhoseServerWasAwayForgetsNobody(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	proxy := pgtest.NewProxy(t, url)
	for _, waits := range []bool{true, false} {
		proxy.Shut(waits)
		db := openURL(t, postgres.Config{URL: proxy.URL, DirectURL: url})
		if err := db.Await(t.Context(), func(error) { proxy.Shut(false) }); err != nil || db.Waited() != waits {
			t.Fatalf("waited: %t, %v", db.Waited(), err)
		}
		now := time.Now()
		if err := execute(t.Context(), db, `INSERT INTO incarnations (incarnation, started_at, heartbeat_at, session) VALUES ('inc_lives', $1, $1, 'ordinavo lives')
			ON CONFLICT DO NOTHING`, now.UnixMicro()); err != nil {
			t.Fatal(err)
		}
		if err := postgres.NewStore(db, tagging{}).BeginIncarnation(t.Context(), fmt.Sprintf("inc_%t", waits), now); err != nil {
			t.Fatal(err)
		}
		if kept := count(t, db, `SELECT count(*) FROM incarnations WHERE incarnation = 'inc_lives'`) == 1; kept != waits {
			t.Errorf("waited: %t, the other is kept: %t", waits, kept)
		}
	}
}
