package postgres_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/dispatch"
)

// TestAStartFindsOutWhoIsGone has one process end without a word, and another live on, when a third starts.
func TestAStartFindsOutWhoIsGone(t *testing.T) {
	t.Parallel()
	url := migrated[1].Copy(t)
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
	db := openURL(t, postgres.Config{URL: migrated[1].Copy(t)})
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
	store := postgres.NewStore(db, tagging{})
	// Who has just seen the server come back waits for others to do so, and this server has perhaps only been started.
	for end := time.Now().Add(patience); ; <-time.After(50 * time.Millisecond) {
		orphans, err := store.Orphans(t.Context(), now.Add(-dispatch.HeartbeatTimeout), 100)
		if err != nil {
			t.Fatal(err)
		}
		var held []string
		for _, o := range orphans {
			held = append(held, o.Lease)
		}
		slices.Sort(held)
		if slices.Equal(held, []string{"killed", "silent"}) {
			return
		}
		if !slices.Equal(held, []string{"silent"}) || time.Now().After(end) {
			t.Fatalf("taken over from %v", held)
		}
	}
}
