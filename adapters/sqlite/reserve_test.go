package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
)

// openEmpty makes a migrated database without rows.
func openEmpty(t testing.TB) *DB {
	t.Helper()
	db, err := Open(t.Context(), filepath.Join(t.TempDir(), "empty.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	return db
}

func reservationOf(key byte, token string) idempotency.Reservation {
	now := time.Now()
	return idempotency.Reservation{Key: idempotency.Key{key}, Token: token, ReservedAt: now, ExpiresAt: now.Add(time.Hour)}
}

// TestKeysThatWaitAreReservedTogether, at most so many at once; of two for the same key the first has it, and who gave up has none.
func TestKeysThatWaitAreReservedTogether(t *testing.T) {
	s := NewStore(openEmpty(t), nil)
	var all []*reservation
	for i := range reservedAtOnce + 3 {
		all = append(all, &reservation{Reservation: reservationOf(byte(max(i, 1)), "t"), done: make(chan struct{})})
		s.reserving.add(all[i])
	}
	if !s.reserving.remove(all[5]) {
		t.Fatal("it is not there")
	}
	if err := s.reserveTogether(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, r := range all {
		want := i != 5 && i < reservedAtOnce+1
		done := false
		select {
		case <-r.done:
			done = true
		default:
		}
		if done != want || r.err != nil || (r.found != nil) != (i == 1) {
			t.Errorf("%d is done: %t, found %v, %v", i, done, r.found, r.err)
		}
	}
	if s.reserving.remove(all[7]) {
		t.Error("what was taken can be removed")
	}
}

// TestWhoGivesUpReservesNothing, and holds up nobody: the next may have the key.
func TestWhoGivesUpReservesNothing(t *testing.T) {
	s := NewStore(openEmpty(t), nil)
	busy, err := s.db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := s.Reserve(ctx, reservationOf(1, "gave up"), time.Time{})
		gaveUp <- err
	}()
	cancel()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
	if err := busy.Rollback(); err != nil {
		t.Fatal(err)
	}
	if found, err := s.Reserve(t.Context(), reservationOf(1, "next"), time.Time{}); found != nil || err != nil {
		t.Errorf("the key is taken by %v, %v", found, err)
	}
}

// BenchmarkReserve is 64 callers at once, as connections are.
func BenchmarkReserve(b *testing.B) {
	s := NewStore(openEmpty(b), nil)
	next := make(chan int, 64)
	b.SetParallelism(32)
	go func() {
		for i := range b.N {
			next <- i
		}
	}()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := <-next
			r := reservationOf(byte(i), "t")
			r.Key = idempotency.Key{byte(i), byte(i >> 8), byte(i >> 16)}
			if _, err := s.Reserve(b.Context(), r, time.Time{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// TestAPanicOfWhoLeadsHoldsUpNobody: the API goes on after one.
func TestAPanicOfWhoLeadsHoldsUpNobody(t *testing.T) {
	s := NewStore(openEmpty(t), nil)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("it did not panic")
			}
		}()
		sound := s.db
		defer func() { s.db = sound }()
		s.db = nil
		_, _ = s.Reserve(t.Context(), reservationOf(1, "panics"), time.Time{})
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if found, err := s.Reserve(ctx, reservationOf(1, "next"), time.Time{}); found != nil || err != nil {
		t.Errorf("the key is taken by %v, %v", found, err)
	}
}
