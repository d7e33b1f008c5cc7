package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// What waits of a tenant belongs to the transaction that lists it, and another tenant's turn waits for nobody.
func TestATurnBelongsToOneTransaction(t *testing.T) {
	store := openStore(t)
	var plan fanout.Plan
	for _, owner := range []tenant.ID{"acme", "other"} {
		plan.Deferred = append(plan.Deferred, fanout.Deferred{Tenant: owner, Position: 1, Events: []fanout.Named{{ID: "evt_1"}}})
	}
	if err := store.Schedule(t.Context(), plan, func(bool) {}); err != nil {
		t.Fatal(err)
	}
	listed := func(ctx context.Context, owner tenant.ID, want int) {
		t.Helper()
		parts, err := store.DeferredOf(ctx, owner, 10)
		if err != nil || len(parts) != want {
			t.Errorf("%d listed of %s, want %d: %v", len(parts), owner, want, err)
		}
	}
	err := store.InTx(t.Context(), func(mine context.Context) error {
		listed(mine, "acme", 1)
		return store.InTx(t.Context(), func(theirs context.Context) error { // a transaction beside the first
			listed(theirs, "acme", 0)
			listed(theirs, "other", 1)
			return nil
		})
	})
	if err != nil {
		t.Error(err)
	}
	listed(t.Context(), "acme", 1)
}

// A process of before there were turns is seen by its listening connection, or by its heartbeat when it has none.
func TestNothingIsDeferredBesideAnOlderProcess(t *testing.T) {
	t.Parallel()
	url := migrated.Copy(t)
	db, now := openURL(t, postgres.Config{URL: url}), time.Now()
	store := postgres.NewStore(db, tagging{})
	mayDefer := func(what string, want bool) {
		t.Helper()
		if got, err := store.MayDefer(t.Context(), now.Add(-time.Minute)); err != nil || got != want {
			t.Errorf("%s: it may defer: %t, %v", what, got, err)
		}
	}
	older := func(session any, beat time.Time) {
		t.Helper()
		if err := execute(t.Context(), db, `INSERT INTO incarnations (incarnation, started_at, heartbeat_at, session) VALUES ('inc_old', $2, $2, $1)
			ON CONFLICT (incarnation) DO UPDATE SET session = $1, heartbeat_at = $2`, session, beat.UnixMicro()); err != nil {
			t.Fatal(err)
		}
	}
	mayDefer("alone", true)
	older(nil, now)
	mayDefer("beside one that beats", false)
	older(nil, now.Add(-time.Hour))
	mayDefer("beside one that beat an hour ago", true)
	older("ordinavo nobody", now)
	mayDefer("beside one whose connection is gone", true)
	listening := openURL(t, postgres.Config{URL: url})
	<-listening.WatchTopic("t").C
	older("ordinavo "+listening.Name(), now.Add(-time.Hour))
	for end := time.Now().Add(patience); ; {
		if may, err := store.MayDefer(t.Context(), now); err == nil && !may {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the listening connection of the older process is not seen")
		}
	}
}
