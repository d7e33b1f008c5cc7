package postgres

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestPlaces has users that come at once and stay, each of whom wants a connection.
func TestPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		users  int
		making time.Duration // how long the first connection that is made takes
		want   []int         // how many are in at once, and after each wait of moreAfter
	}{
		"few wait for nobody":                       {fewConns, 0, []int{4, 4}},
		"who has waited gets another":               {fewConns + 2, 0, []int{4, 5, 6, 6}},
		"as many as there may be":                   {9, 0, []int{4, 5, 6, 7, 8, 8}},
		"but none while another is made":            {9, 12 * time.Millisecond, []int{4, 4, 4, 5, 6}},
		"unless the server answers nobody who asks": {9, time.Hour, []int{4, 5, 5, 5, 5}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				p := newPlaces(8, func() bool { return time.Since(began) < c.making })
				if c.making < slowToMake {
					p.gaveAt = began
				}
				ctx, cancel := context.WithCancel(t.Context())
				answers := make(chan error, c.users)
				for range c.users {
					go func() { answers <- p.enter(ctx) }()
				}
				for i, want := range c.want {
					synctest.Wait()
					if len(answers) != want {
						t.Errorf("after %v there are %d in, want %d", time.Duration(i)*moreAfter, len(answers), want)
					}
					<-time.After(moreAfter)
					synctest.Wait()
				}
				in := len(answers)
				cancel()
				synctest.Wait()
				for range c.users {
					if err := <-answers; err != nil && !errors.Is(err, context.Canceled) {
						t.Errorf("who gave up waiting has %v", err)
					}
				}
				for range in {
					p.leave()
				}
				if left := len(p.taken) - p.heldBack; left != 0 || p.waiting != 0 {
					t.Errorf("%d places are taken by nobody, and nobody waits %d times", left, p.waiting)
				}
				<-time.After(time.Second)
				if synctest.Wait(); p.timer != nil {
					t.Error("a timer runs for nobody")
				}
			})
		})
	}
}

func TestWhoWaitsForAPlaceGetsItInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(fewConns, func() bool { return false })
		for range fewConns {
			_ = p.enter(t.Context())
		}
		var order []int
		for i := range 20 {
			go func() { _ = p.enter(t.Context()); order = append(order, i) }()
			synctest.Wait()
			<-time.After(7 * time.Millisecond)
		}
		for range 20 {
			p.leave()
			synctest.Wait()
		}
		if len(order) != 20 || !slices.IsSorted(order) {
			t.Errorf("they got it in the order %v", order)
		}
	})
}

// TestWhenNoConnectionCanBeMadeAFewTryAgain: a server that comes back is not asked for all connections at once.
func TestWhenNoConnectionCanBeMadeAFewTryAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(8, func() bool { return false })
		var users [8]chan struct{}
		for i := range users {
			users[i] = make(chan struct{})
			go func() { _ = p.enter(t.Context()); <-users[i]; p.holdBack() }()
		}
		<-time.After(time.Second)
		if synctest.Wait(); p.heldBack != 0 {
			t.Fatalf("%d are held back", p.heldBack)
		}
		for i := range users {
			close(users[i])
		}
		if synctest.Wait(); p.heldBack != 8-fewConns || len(p.taken) != p.heldBack {
			t.Errorf("%d are held back and %d taken when no connection could be made", p.heldBack, len(p.taken))
		}
	})
}

// TestAStartMakesNoMoreConnectionsThanAreGiven although a dozen ask at once.
func TestAStartMakesNoMoreConnectionsThanAreGiven(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{URL: pgtest.Empty(t)})
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	if given := db.given(); given != fewConns || cap(db.places.taken) != db.config.MaxConns {
		t.Errorf("at first %d of %d connections are given", given, cap(db.places.taken))
	}
	var asking sync.WaitGroup
	for range 12 {
		asking.Go(func() {
			if err := db.Query(t.Context(), func(pgx.Rows) error { return nil }, `SELECT pg_sleep(0.1)`); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	if made, given := int(db.pool.Stat().TotalConns()), db.given(); made > given {
		t.Errorf("%d connections were made, and %d given", made, given)
	}
}

// given is how many connections may be in use.
func (db *DB) given() int {
	db.places.mu.Lock()
	defer db.places.mu.Unlock()
	return cap(db.places.taken) - db.places.heldBack
}

// TestATransactionGivesItsPlaceBackOnce, however it ends.
func TestATransactionGivesItsPlaceBackOnce(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	inUse := func() int { return len(db.places.taken) - db.places.heldBack }
	for range 3 {
		tx, err := db.Begin(t.Context())
		pgtest.Check(t, err)
		if inUse() != 1 {
			t.Errorf("a transaction has %d places", inUse())
		}
		for range 2 {
			pgtest.Check(t, tx.Rollback())
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := db.Begin(ended); err == nil || inUse() != 0 {
		t.Errorf("who has given up has %v, and %d places are taken", err, inUse())
	}
}

// TestThePlaceOfAConnectionThatCannotBeMadeIsHeldBack at a server that is away, and was there before.
func TestThePlaceOfAConnectionThatCannotBeMadeIsHeldBack(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{URL: "postgres://nobody@127.0.0.1:1/away"})
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	for range 2 {
		db.places.heldBack--
		db.places.leave()
	}
	for _, want := range []int{fewConns + 1, fewConns, fewConns} {
		if _, err := db.Begin(t.Context()); err == nil {
			t.Fatal("there is a server")
		}
		if given := db.given(); given != want || len(db.places.taken) != db.places.heldBack {
			t.Errorf("%d are given, want %d, and %d taken", given, want, len(db.places.taken)-db.places.heldBack)
		}
	}
}

// TestConnectionsAreTold of a pool that is all in use, with one who waits, and of a process that cannot listen.
func TestConnectionsAreTold(t *testing.T) {
	t.Parallel()
	db, err := Open(Config{URL: pgtest.Empty(t), DirectURL: "postgres://127.0.0.1:1/nobody", MaxConns: 4})
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = db.Close() })
	tells := func(want metrics.Connections) {
		t.Helper()
		got := db.Connections()
		for end := time.Now().Add(time.Minute); got != want && time.Now().Before(end); got = db.Connections() {
			<-time.After(time.Millisecond)
		}
		if got != want {
			t.Errorf("told %+v, want %+v", got, want)
		}
	}
	var held []*Tx
	for range 4 {
		tx, err := db.Begin(t.Context())
		pgtest.Check(t, err)
		held = append(held, tx)
	}
	waits := make(chan error, 1)
	go func() {
		tx, err := db.Begin(t.Context())
		if err == nil {
			err = tx.Rollback()
		}
		waits <- err
	}()
	tells(metrics.Connections{Used: 4, Max: 4, Waiting: 1, Polling: true})
	for _, tx := range held {
		pgtest.Check(t, tx.Rollback())
	}
	pgtest.Check(t, <-waits)
	tells(metrics.Connections{Idle: 4, Max: 4, Polling: true})

	listening, err := Open(Config{URL: pgtest.Empty(t)})
	pgtest.Check(t, err)
	t.Cleanup(func() { _ = listening.Close() })
	db = listening
	tells(metrics.Connections{Max: 16})
}
