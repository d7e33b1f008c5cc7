package postgres

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestPlaces has users that come at once and stay, each of whom wants a connection.
func TestPlaces(t *testing.T) {
	for name, c := range map[string]struct {
		users  int
		making bool
		want   []int // how many are in at once, and after each wait of moreAfter
	}{
		"few wait for nobody":            {fewConns, false, []int{4, 4}},
		"who has waited gets another":    {fewConns + 2, false, []int{4, 5, 6, 6}},
		"as many as there may be":        {9, false, []int{4, 5, 6, 7, 8, 8}},
		"but none while another is made": {9, true, []int{4, 4, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				making := c.making
				p := newPlaces(8, func() bool { return making })
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
				}
				in := len(answers)
				if waiting := c.users - in; waiting > 0 {
					p.leave()
					synctest.Wait()
					if len(answers) != in+1 {
						t.Error("who waits does not get the place of one who leaves")
					}
				}
				cancel()
				for range c.users {
					if err := <-answers; err == nil {
						in--
					} else if !errors.Is(err, context.Canceled) {
						t.Errorf("who gave up waiting has %v", err)
					}
				}
			})
		})
	}
}

// TestAStartMakesFewConnections although a dozen ask at once, and each has one after the other.
func TestAStartMakesFewConnections(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	if n := cap(db.places.taken); n != db.config.MaxConns || db.places.heldBack != n-fewConns {
		t.Errorf("%d of %d connections are held back", db.places.heldBack, n)
	}
	for range 3 {
		if err := db.ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	tx, err := db.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(db.places.taken)-db.places.heldBack != 1 {
		t.Error("a transaction has no place")
	}
	for range 2 {
		if err := tx.Rollback(); err != nil {
			t.Fatal(err)
		}
	}
	if left := len(db.places.taken) - db.places.heldBack; left != 0 {
		t.Errorf("%d places are taken by nobody", left)
	}
}
