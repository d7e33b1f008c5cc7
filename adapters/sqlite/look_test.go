package sqlite

import (
	"context"
	"database/sql"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/share"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// TestSlowListsLeaveConnections has more lists read on than there are connections.
func TestSlowListsLeaveConnections(t *testing.T) {
	db := openEmpty(t)
	s := NewStore(db, nil)
	conns := db.readers.Stats().MaxOpenConnections
	ctx, cancel := context.WithCancel(t.Context())
	var lists sync.WaitGroup
	defer lists.Wait()
	defer cancel()
	for i := range 4 * conns {
		lists.Go(func() {
			_ = db.forUsers().query(share.For(ctx, []tenant.ID{"one", "another"}[i%2]), func(*sql.Rows) error {
				<-ctx.Done()
				return ctx.Err()
			}, `SELECT 1`)
		})
	}
	for end := time.Now().Add(30 * time.Second); db.readers.Stats().InUse < conns/2; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d lists read", db.readers.Stats().InUse)
		}
	}
	soon, end := context.WithTimeout(t.Context(), 30*time.Second)
	defer end()
	for range 200 {
		if err := s.Ping(soon); err != nil {
			t.Fatalf("a read of the service found no connection: %v", err)
		}
	}
	if n := db.readers.Stats().InUse; n > conns/2 {
		t.Errorf("lists have %d of %d connections", n, conns)
	}
}

// ofUsers is what users look up and list, and what is reconciled.
func ofUsers() map[string]func(context.Context, *Store) error {
	since, until := time.Unix(0, 0), time.Now()
	calls := map[string]func(context.Context, *Store) error{
		"Deliveries": func(ctx context.Context, s *Store) error {
			_, err := s.Deliveries(ctx, queries.DeliveryFilter{Tenant: "t1", Limit: 9})
			return err
		},
		"AcceptedEvents": func(ctx context.Context, s *Store) error {
			_, err := s.AcceptedEvents(ctx, queries.EventFilter{Tenant: "t1", Limit: 9})
			return err
		},
		"AttemptCells": func(ctx context.Context, s *Store) error {
			_, err := s.AttemptCells(ctx, metrics.Query{Tenant: "t1", Since: since, Until: until, Interval: time.Hour}, 9)
			return err
		},
		"DeliveriesWithin": func(ctx context.Context, s *Store) error {
			_, err := s.DeliveriesWithin(ctx, "t1", since, until)
			return err
		},
		"Hours": func(ctx context.Context, s *Store) error { _, err := s.Hours(ctx, "t1", since, until); return err },
		"Unsettled": func(ctx context.Context, s *Store) error {
			_, err := s.Unsettled(ctx, "t1", since, until, 9)
			return err
		},
	}
	calls["WalkDeliveries"] = func(ctx context.Context, s *Store) error {
		_, err := s.WalkDeliveries(ctx, jobs.Walk{Tenant: "t1", Filter: job.Filter{Statuses: []delivery.Status{delivery.StatusDeadLetter}}, UpTo: "~", Limit: 9})
		return err
	}
	for _, call := range []string{"SubscriptionHistory", "GatedEvents", "CurrentSubscription", "LoadSubscription", "SubscriptionsAt", "ListSubscriptions", "Delivery",
		"DeliveryChanges", "LastAttempts", "Event", "DeliveriesOf", "GatedOf", "FannedOut", "Keys of a tenant", "Keys", "Tenants", "Jobs", "EventsAfter", "NewestOf", "WalkEvents",
		"NewestDeliveries", "EventBodies"} {
		calls[call] = hot[call]
	}
	return calls
}

// TestLookupsOfUsersWaitForASlot has all slots taken: those calls wait for one, unless they are in a transaction, and the service's do not.
func TestLookupsOfUsersWaitForASlot(t *testing.T) {
	s := NewStore(openEmpty(t), nil)
	for _, owner := range []tenant.ID{"one", "one", "another"} {
		if _, err := s.db.looking.Enter(share.For(t.Context(), owner)); err != nil {
			t.Fatal(err)
		}
	}
	waited := func(err error) bool { return err != nil && strings.Contains(err.Error(), "wait to look something up") }
	gone, leave := context.WithCancel(t.Context())
	leave()
	for call, run := range ofUsers() {
		if err := run(gone, s); !waited(err) {
			t.Errorf("%s does not wait for a slot: %v", call, err)
		}
		if err := s.InTx(t.Context(), func(ctx context.Context) error {
			if err := run(ctx, s); waited(err) {
				t.Errorf("%s in a transaction: %v", call, err)
			}
			return nil
		}); err != nil {
			t.Errorf("%s in a transaction: %v", call, err)
		}
	}
	for _, call := range []string{"Known", "Events", "CountOpen", "OldestUnrouted", "Governing", "CountSubscriptions", "LaneStates", "OpenSecret", "Orphans",
		"NextNotices", "NextSweep", "NextTurn", "WaitingFrom", "KeyByHash", "Tenant", "NextJob", "Job", "NextAttempts", "Circuits", "DeliveryRecords", "EndedKeys"} {
		if err := hot[call](t.Context(), s); waited(err) {
			t.Errorf("%s: %v", call, err)
		}
	}
}

func TestWhoFindsNoSlotIsToldToComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := looker{&DB{looking: share.NewSlots(1)}}
		leave, err := l.enter(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if _, err := l.enter(t.Context()); !problem.Is(err, problem.Unavailable) || time.Since(began) != lookTimeout {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		leave()
		if leave, err = l.enter(t.Context()); err != nil {
			t.Fatalf("once the other has left: %v", err)
		}
		leave()
	})
}

// TestChangesOfUsersLeaveTheWriter has many changes of one tenant wait while the writer is held: the service's own waits behind one of them, and
// another tenant's behind two.
func TestChangesOfUsersLeaveTheWriter(t *testing.T) {
	db := openEmpty(t)
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var changes, begun sync.WaitGroup
	defer changes.Wait()
	defer func() { _ = tx.Rollback() }()
	order := make(chan string, 100) // sent with the writer held
	change := func(ctx context.Context, whose string) {
		if err := db.Update(ctx, func(context.Context, *Tx) error { order <- whose; return nil }); err != nil {
			t.Error(err)
		}
	}
	const noisy = 64
	begun.Add(noisy)
	for range noisy {
		changes.Go(func() {
			begun.Done()
			change(share.For(t.Context(), "noisy"), "noisy")
		})
	}
	begun.Wait()
	waiting := func(n int64) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); db.queue.Load() < n; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d wait for the writer", db.queue.Load())
			}
		}
	}
	waiting(1)
	changes.Go(func() { change(t.Context(), "service") })
	waiting(2)
	changes.Go(func() { change(share.For(t.Context(), "quiet"), "quiet") })
	for range 1000 {
		if n := db.queue.Load(); n > 2 {
			t.Fatalf("%d wait for the writer", n)
		}
		runtime.Gosched()
	}
	if err := tx.Rollback(); err != nil {
		t.Error(err)
	}
	if first := []string{<-order, <-order}; !slices.Contains(first, "service") {
		t.Errorf("%q had the writer before the service", first)
	}
}

// Each event that is sent with an Idempotency-Key needs one, which asks for the writer beside the change that waits for it.
func TestAReservationWaitsForNoChangesOfUsers(t *testing.T) {
	db := openEmpty(t)
	store, ctx := NewStore(db, nil), share.For(t.Context(), "acme")
	tx, err := db.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var calls sync.WaitGroup
	defer calls.Wait()
	defer func() { _ = tx.Rollback() }()
	asks := func(n int64, call func() error) {
		t.Helper()
		calls.Go(func() {
			if err := call(); err != nil {
				t.Error(err)
			}
		})
		for end := time.Now().Add(30 * time.Second); db.queue.Load() < n; runtime.Gosched() {
			if time.Now().After(end) {
				t.Fatalf("%d wait for the writer", db.queue.Load())
			}
		}
	}
	asks(1, func() error { return db.Update(ctx, func(context.Context, *Tx) error { return nil }) })
	asks(2, func() error {
		_, err := store.Reserve(ctx, reservationOf(1, "token"), time.Now())
		return err
	})
}
