package egress

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/tenant"
)

func TestTargetsAreTheTenantsOwn(t *testing.T) {
	t.Parallel()
	guard := NewGuard(nil, nil)
	var kept targets
	seen := map[string]bool{}
	for _, by := range []called{{"acme", "https://example.com/a"}, {"globex", "https://example.com/a"}, {"acme", "https://example.org/a"}} {
		first, err := kept.find(guard, by)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := kept.find(guard, by); err != nil || again != first {
			t.Errorf("%v is made ready each time: %v, %v", by, again, err)
		}
		parsed, err := guard.parse(by.url)
		if err != nil {
			t.Fatal(err)
		}
		if first.host != parsed.url.Host || first.url.Host != poolKey(by.tenant, parsed) || first.url.Path != "/a" || seen[first.url.Host] {
			t.Errorf("%v leads to %+v by %s", by, first, first.url)
		}
		seen[first.url.Host] = true
	}
}

func TestFewTargetsAreKept(t *testing.T) {
	t.Parallel()
	guard := NewGuard(nil, nil)
	var kept targets
	for i := range 2*maxTargets + 1 {
		if _, err := kept.find(guard, called{tenant.ID(strconv.Itoa(i)), "https://example.com"}); err != nil || len(kept.ready) > maxTargets {
			t.Fatalf("after %d, %d are kept, %v", i, len(kept.ready), err)
		}
	}
	before := len(kept.ready)
	for range 2 {
		if got, err := kept.find(guard, called{"acme", "https://127.0.0.1"}); !errors.Is(err, errBlocked) || got.url != nil {
			t.Errorf("what is refused gave %+v, %v", got, err)
		}
	}
	if len(kept.ready) != before {
		t.Error("what is refused is kept")
	}
}

// Node.js and Apache end a connection that was idle for 5 s, and a request that is on its way then is lost.
func TestIdleConnectionsEndBeforeCommonServersEndThem(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, Config{})
	if idle := c.transport.IdleConnTimeout; idle <= 0 || idle >= 5*time.Second {
		t.Errorf("a connection stays for %s without a request", idle)
	}
}
