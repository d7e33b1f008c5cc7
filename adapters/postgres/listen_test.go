package postgres_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// patience bounds a wait for something that is to happen; nothing is timed by it.
const patience = 90 * time.Second

// pair is two processes on one database, which do not poll.
func pair(t *testing.T) (one, two *postgres.DB) {
	t.Helper()
	url := migrated.Copy(t)
	return openURL(t, postgres.Config{URL: url, Recheck: time.Hour}), openURL(t, postgres.Config{URL: url, Recheck: time.Hour})
}

// heard polls until a commit by touch is heard of: the listening connection may have to be made first.
func heard[T any](t *testing.T, of <-chan T, touch func()) (what T) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		touch()
		select {
		case what = <-of:
			return what
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal("the commit of another process was not heard of")
	return what
}

// hears waits until two hears of what one commits, and only so knows of it: what a listening connection wakes when it is made has
// been woken by then.
func hears(t *testing.T, one, two *postgres.DB) {
	t.Helper()
	lane := dispatch.Lane{Tenant: "acme", SubscriptionID: fmt.Sprintf("sub_%d", rand.Uint64())}
	changed := make(chan dispatch.Lane, 1000)
	defer two.HearSubscriptions(func(c wakeup.Change) { changed <- c.Lane })()
	got := heard(t, changed, touch(t, one, func(tx *postgres.Tx) { tx.Appended(wakeup.SubscriptionTopics(lane, nil)[0]) }))
	if got != lane {
		t.Errorf("heard of %v", got)
	}
}

// touch commits what somebody may hear of.
func touch(t *testing.T, db *postgres.DB, what func(tx *postgres.Tx)) func() {
	return func() {
		err := db.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			what(tx)
			_, err := tx.Exec(ctx, `DELETE FROM sweeps`)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestProcessesWakeEachOther(t *testing.T) {
	t.Parallel()
	one, two := pair(t)
	hears(t, one, two) // by name, too: the other may have leased some of a changed subscription's deliveries
	topic, queue := two.WatchTopic("t"), two.WatchQueue()
	heard(t, topic.C, func() { publish(t.Context(), t, one) })
	heard(t, queue.C, touch(t, one, (*postgres.Tx).QueueChanged))
}

func TestTheListenerConnectsAgain(t *testing.T) {
	t.Parallel()
	one, two := pair(t)
	hears(t, one, two)
	topic := two.WatchTopic("t")
	if err := execute(t.Context(), one, `SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`); err != nil {
		t.Fatal(err)
	}
	heard(t, topic.C, func() {}) // what was committed meanwhile is looked for
	hears(t, one, two)
}

// TestTheListenerPassesOverASilentServer has the first of two servers take connections and never speak, as one whose disk hangs does: who
// waited for it would poll for good, though the other one was promoted.
func TestTheListenerPassesOverASilentServer(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	direct := migrated.Copy(t)
	both, err := url.Parse(direct)
	if err != nil {
		t.Fatal(err)
	}
	both.Host = silent.Addr().String() + "," + both.Host
	one := openURL(t, postgres.Config{URL: direct, Recheck: time.Hour})
	hears(t, one, openURL(t, postgres.Config{URL: direct, DirectURL: both.String(), Recheck: time.Hour}))
}

// TestTheListenerAsksAServerThatSaysNothing and leaves one that hangs, though its machine, or a proxy in front of it, still acknowledges.
func TestTheListenerAsksAServerThatSaysNothing(t *testing.T) {
	t.Parallel()
	direct := migrated.Copy(t)
	proxy := pgtest.NewProxy(t, direct)
	one := openURL(t, postgres.Config{URL: direct, Recheck: time.Hour})
	two := openURL(t, postgres.Config{URL: direct, DirectURL: proxy.URL, Recheck: time.Hour, LongestAnswer: 50 * time.Millisecond})
	hears(t, one, two)
	eventually := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(patience); !is(); <-time.After(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal("never: " + what)
			}
		}
	}
	eventually("it asks", func() (asked bool) {
		err := one.Query(t.Context(), func(r pgx.Rows) error { return r.Scan(&asked) },
			`SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE application_name = 'ordinavo ' || $1::text AND query LIKE '%ping%')`, two.Name())
		if err != nil {
			t.Fatal(err)
		}
		return asked
	})
	hears(t, one, two)
	if two.Connections().Polling {
		t.Error("a server that answers was left")
	}
	proxy.Delay(time.Hour)
	eventually("it leaves", func() bool { return two.Connections().Polling })
	proxy.Delay(0)
	hears(t, one, two)
}

func TestPollingIsTheSafetyNet(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: migrated.Copy(t), DirectURL: "postgres://nobody@127.0.0.1:1/none", Recheck: 10 * time.Millisecond})
	for range 2 {
		select {
		case <-db.WatchQueue().C:
		case <-time.After(patience):
			t.Fatal("without a listening connection nobody looks")
		}
	}
}
