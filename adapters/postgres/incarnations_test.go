package postgres_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
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
