package egress

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// A thousand hostile receivers at once, of all kinds and in another process, cost little memory at any time, leave no
// goroutine behind, and a sound receiver beside them gets all of its deliveries. What the whole service then has
// resident, and how long the others' deliveries take, is measured by tests/faults.
func TestAThousandHostileReceivers(t *testing.T) {
	const crowd, sound = 1000, 500
	receivers, roots := startHostile(t)
	client, _ := newClient(t, Config{RootCAs: roots})
	healthy := serve(t, func(http.ResponseWriter, *http.Request) {})
	alone := latencies(t, client, healthy.URL, sound)
	goroutines, memory := runtime.NumGoroutine(), inUse()

	var sends sync.WaitGroup
	for i := range crowd {
		sends.Go(func() {
			request := post(receivers.URL(i%len(receivers.Ports), i))
			request.Timeout = time.Second
			if got := client.Send(t.Context(), request); got.Kind == "" {
				t.Errorf("got no outcome: %+v", got)
			}
		})
	}
	over := make(chan struct{})
	peak := make(chan uint64)
	go func() { peak <- highest(over) }()
	beside := latencies(t, client, healthy.URL, sound)
	sends.Wait()
	close(over)
	more := int64(<-peak) - int64(memory)
	client.Close()
	healthy.Close()
	waitUntil(t, func() bool { return runtime.NumGoroutine() <= goroutines })
	t.Logf("a sound receiver's p99: %v alone, %v beside them; %d KiB more memory", alone, beside, more>>10)
	if more > 64<<20 {
		t.Errorf("%d MiB more memory", more>>20)
	}
}

// highest is the most memory that was in use at any time until over.
func highest(over <-chan struct{}) (most uint64) {
	for {
		most = max(most, inUse())
		select {
		case <-over:
			return most
		default:
		}
	}
}

// A thousand that hang keep no sound receiver from its deliveries; the log has its latency with and without them. What it pays
// while they all begin, above, is the machine's time.
func TestAThousandThatHang(t *testing.T) {
	const hanging, sound = 1000, 500
	client, _ := newClient(t, Config{})
	healthy := serve(t, func(http.ResponseWriter, *http.Request) {})
	var out, ended atomic.Int64
	hang := func(first string) string {
		return raw(t, func(conn net.Conn, _ string) { say(conn, first); out.Add(1); hold(conn) })
	}
	urls := []string{hang(""), hang("HTTP/1.1 200 OK\r\nX: "), hang("HTTP/1.1 103 Early Hints\r\n\r\n"), hang("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")}
	latencies(t, client, healthy.URL, sound)
	alone := latencies(t, client, healthy.URL, sound)
	ctx, stop := context.WithCancel(t.Context())
	var sends sync.WaitGroup
	for i := range hanging {
		sends.Go(func() {
			if got := client.Send(ctx, post(urls[i%len(urls)])); got.Duration < long { // it may have come to its end on a machine that does much else
				ended.Add(1)
			}
		})
	}
	waitUntil(t, func() bool { return out.Load() == hanging })
	beside := latencies(t, client, healthy.URL, sound)
	if n := ended.Load(); n > 0 {
		t.Errorf("%d did not hang", n)
	}
	stop()
	sends.Wait()
	t.Logf("a sound receiver's p99: %v alone, %v beside them", alone, beside)
}

// latencies sends one after the other, and gives the slowest but for a hundredth.
func latencies(t *testing.T, client *Client, url string, n int) time.Duration {
	t.Helper()
	took := make([]time.Duration, n)
	for i := range took {
		got := send(t, client, url)
		wantKind(t, got, delivery.KindSucceeded)
		took[i] = got.Duration
	}
	slices.Sort(took)
	return took[n*99/100]
}

// inUse is without garbage, of which a busy machine may leave any amount.
func inUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse + stats.StackInuse
}
