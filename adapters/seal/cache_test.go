package seal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/ordinavo/webhooks/adapters/seal"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var _ dispatch.Secrets = (*seal.Cache)(nil)

// vault opens a secret for every name, a different one for each, and counts how often it is asked.
type vault struct {
	mu    sync.Mutex
	asked map[string]int
	err   error
}

func (v *vault) OpenSecret(_ context.Context, owner tenant.ID, subscriptionID, secretID string) (secret.Secret, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.asked == nil {
		v.asked = map[string]int{}
	}
	name := fmt.Sprint(owner, "/", subscriptionID, "/", secretID)
	v.asked[name]++
	return secretOf(name), v.err
}

func secretOf(name string) secret.Secret {
	var random [secret.Size]byte
	copy(random[:], name)
	return secret.FromBytes(random)
}

func open(t *testing.T, c *seal.Cache, owner tenant.ID, subscriptionID, secretID string) {
	t.Helper()
	got, err := c.OpenSecret(t.Context(), owner, subscriptionID, secretID)
	if err != nil || !got.Equal(secretOf(fmt.Sprint(owner, "/", subscriptionID, "/", secretID))) {
		t.Errorf("%s/%s/%s gave another's secret, or %v", owner, subscriptionID, secretID, err)
	}
}

func TestCacheAsksOncePerSecret(t *testing.T) {
	v := &vault{}
	c := seal.NewCache(v, 10)
	for range 3 {
		open(t, c, "a", "s", "1")
		open(t, c, "b", "s", "1")
		open(t, c, "a", "t", "1")
		open(t, c, "a", "s", "2")
	}
	for name, times := range v.asked {
		if times != 1 {
			t.Errorf("%s was asked for %d times", name, times)
		}
	}
	if len(v.asked) != 4 {
		t.Errorf("asked for %v", v.asked)
	}
}

func TestCacheForgetsWhatWasUnusedTheLongest(t *testing.T) {
	v := &vault{}
	c := seal.NewCache(v, 2)
	open(t, c, "a", "s", "1")
	open(t, c, "a", "s", "2")
	open(t, c, "a", "s", "1")
	open(t, c, "a", "s", "3") // pushes 2 out
	open(t, c, "a", "s", "1")
	open(t, c, "a", "s", "2")
	if v.asked["a/s/1"] != 1 || v.asked["a/s/2"] != 2 || v.asked["a/s/3"] != 1 {
		t.Errorf("asked %v", v.asked)
	}
}

func TestCacheKeepsNoFailure(t *testing.T) {
	v := &vault{err: errors.New("the database is away")}
	c := seal.NewCache(v, 2)
	if _, err := c.OpenSecret(t.Context(), "a", "s", "1"); !errors.Is(err, v.err) {
		t.Errorf("got %v", err)
	}
	v.err = nil
	open(t, c, "a", "s", "1")
	if v.asked["a/s/1"] != 2 {
		t.Errorf("asked %v", v.asked)
	}
}

func TestCacheUnderLoad(t *testing.T) {
	c := seal.NewCache(&vault{}, 8)
	var attempts sync.WaitGroup
	for range 8 {
		attempts.Go(func() {
			for i := range 500 {
				open(t, c, "a", "s", fmt.Sprint(i%20))
			}
		})
	}
	attempts.Wait()
}
