package access

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
)

// everybody is a store to which every text is a key.
type everybody struct{ KeyStore }

func (everybody) KeyByHash(context.Context, Hash) (access.Key, error) {
	return access.Key{ID: "key_1"}, nil
}

// slow is a store in which every look-up waits to be let go.
type slow struct {
	KeyStore
	came, goOn chan struct{}
	key        access.Key
}

func (s slow) KeyByHash(context.Context, Hash) (access.Key, error) {
	s.came <- struct{}{}
	<-s.goOn
	if s.key.ID == "" {
		return s.key, problem.New(problem.NotFound, "none")
	}
	return s.key, nil
}

// Whoever tries keys gets no more of the store than a few look-ups at once.
func TestLookUpsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := slow{came: make(chan struct{}, 100), goOn: make(chan struct{})}
		keys := NewKeys(store, time.Now, nil, nil)
		var done sync.WaitGroup
		for i := range 20 {
			done.Go(func() {
				if _, err := keys.Authenticate(t.Context(), fmt.Sprintf("ord_live_%020d", i)); !problem.Is(err, problem.Unauthorized) {
					t.Error(err)
				}
			})
		}
		if synctest.Wait(); len(store.came) != maxLookups {
			t.Errorf("%d look-ups at once", len(store.came))
		}
		close(store.goOn)
		if done.Wait(); len(store.came) != 20 {
			t.Errorf("%d look-ups in the end", len(store.came))
		}
	})
}

func TestAKeyIsLookedUpOnceForAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := slow{came: make(chan struct{}, 100), goOn: make(chan struct{}), key: access.Key{ID: "key_1"}}
		keys := NewKeys(store, time.Now, nil, nil)
		var done sync.WaitGroup
		for range 20 {
			done.Go(func() {
				if got, err := keys.Authenticate(t.Context(), "ord_live_the_same_for_all"); err != nil || got.ID != "key_1" {
					t.Errorf("%+v, %v", got, err)
				}
			})
		}
		synctest.Wait()
		time.AfterFunc(cachedFor/2, func() { close(store.goOn) })
		if done.Wait(); len(store.came) > maxLookups {
			t.Errorf("%d look-ups", len(store.came))
		}
	})
}

func TestWhoWaitsForLongIsToldSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := slow{came: make(chan struct{}, 100), goOn: make(chan struct{})}
		keys := NewKeys(store, time.Now, nil, nil)
		var done sync.WaitGroup
		for i := range maxLookups {
			done.Go(func() { _, _ = keys.Authenticate(t.Context(), fmt.Sprintf("ord_live_%020d", i)) })
		}
		synctest.Wait()
		if _, err := keys.Authenticate(t.Context(), "ord_live_for_whom_there_is_no_time"); !problem.Is(err, problem.Unavailable) {
			t.Errorf("got %v", err)
		}
		close(store.goOn)
		done.Wait()
	})
}

func TestTheCacheIsBounded(t *testing.T) {
	keys := NewKeys(everybody{}, func() time.Time { return time.Unix(1e9, 0) }, nil, nil)
	for i := range 2*maxCachedKeys + 10 {
		if _, err := keys.Authenticate(t.Context(), fmt.Sprintf("ord_live_%020d", i)); err != nil {
			t.Fatal(err)
		}
		if len(keys.cached) > maxCachedKeys {
			t.Fatalf("%d keys are cached", len(keys.cached))
		}
	}
}
