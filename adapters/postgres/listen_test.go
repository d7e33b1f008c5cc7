package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/adapters/wakeup"
	"github.com/ordinavo/webhooks/application/dispatch"
)

// patience bounds a wait for something that is to happen; nothing is timed by it.
const patience = 90 * time.Second

// pair is two processes on one database, which do not poll.
func pair(t *testing.T) (one, two *postgres.DB) {
	t.Helper()
	url := migrated[1].Copy(t)
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

func TestProcessesWakeEachOther(t *testing.T) {
	t.Parallel()
	one, two := pair(t)
	topic, queue := two.WatchTopic("t"), two.WatchQueue()
	heard(t, topic.C, func() { publish(t.Context(), t, one) })
	heard(t, queue.C, func() {
		err := one.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			tx.QueueChanged()
			_, err := tx.Exec(ctx, `DELETE FROM sweeps`)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
}

// A subscription that one process changes is known by name to the other, which may have leased some of its deliveries.
func TestProcessesTellEachOtherOfChangedSubscriptions(t *testing.T) {
	t.Parallel()
	one, two := pair(t)
	lane := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}
	changed := make(chan dispatch.Lane, 1000)
	defer two.HearSubscriptions(func(lane dispatch.Lane) { changed <- lane })()
	got := heard(t, changed, func() {
		err := one.Update(t.Context(), func(ctx context.Context, tx *postgres.Tx) error {
			tx.Appended(wakeup.SubscriptionTopic(lane))
			_, err := tx.Exec(ctx, `DELETE FROM sweeps`)
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	if got != lane {
		t.Errorf("heard of %v", got)
	}
}

func TestTheListenerConnectsAgain(t *testing.T) {
	t.Parallel()
	one, two := pair(t)
	topic := two.WatchTopic("t")
	heard(t, topic.C, func() { publish(t.Context(), t, one) })
	if err := execute(t.Context(), one, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'`); err != nil {
		t.Fatal(err)
	}
	heard(t, topic.C, func() { publish(t.Context(), t, one) })
}

func TestPollingIsTheSafetyNet(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: migrated[1].Copy(t), DirectURL: "postgres://nobody@127.0.0.1:1/none", Recheck: 10 * time.Millisecond})
	for range 2 {
		select {
		case <-db.WatchQueue().C:
		case <-time.After(patience):
			t.Fatal("without a listening connection nobody looks")
		}
	}
}
