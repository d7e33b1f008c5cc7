package egress

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
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
	if idle := c.transport.Load().IdleConnTimeout; idle <= 0 || idle >= 5*time.Second {
		t.Errorf("a connection stays for %s without a request", idle)
	}
}

// A process has so many files and no more, and any number of receivers.
func TestIdleConnectionsOfAllReceiversAreBounded(t *testing.T) {
	t.Parallel()
	for configured, want := range map[int]int{0: 1024, 3: 3} {
		c, _ := newClient(t, Config{MaxIdleConns: configured})
		if got := c.transport.Load().MaxIdleConns; got != want {
			t.Errorf("with %d configured, %d are kept", configured, got)
		}
	}
}

// A tenant may think up any number of addresses, and the library keeps something of each at which no connection ever became idle.
func TestLittleIsKeptOfAddressesThatNeverAnswered(t *testing.T) {
	t.Parallel()
	c, _ := newClient(t, Config{Resolver: answers{}})
	arrived, release := make(chan struct{}), make(chan struct{})
	receiver := serve(t, func(http.ResponseWriter, *http.Request) { close(arrived); <-release })
	underWay := make(chan delivery.Outcome)
	go func() { underWay <- send(t, c, receiver.URL) }()
	<-arrived
	const before, after = 50, 20
	c.dialer.begun.Store(maxDials - before)
	for i := range before + after {
		if got := send(t, c, fmt.Sprintf("https://n%d.example.com", i)); got.Kind != delivery.KindDNS {
			t.Fatalf("got %+v", got)
		}
	}
	if kept := reflect.ValueOf(c.transport.Load()).Elem().FieldByName("idleConnWait").Len(); kept > after {
		t.Errorf("something is kept of %d addresses", kept)
	}
	close(release)
	if got := <-underWay; !got.Succeeded() {
		t.Errorf("what was under way ended as %+v", got)
	}
}
