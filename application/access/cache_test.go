package access

import (
	"context"
	"errors"
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
}

func (s slow) KeyByHash(context.Context, Hash) (access.Key, error) {
	s.came <- struct{}{}
	<-s.goOn
	return access.Key{}, problem.New(problem.NotFound, "none")
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
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := keys.Authenticate(ctx, "ord_live_for_whom_there_is_no_time"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who waits for too long gets %v", err)
		}
		close(store.goOn)
		if done.Wait(); len(store.came) != 20 {
			t.Errorf("%d look-ups in the end", len(store.came))
		}
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
