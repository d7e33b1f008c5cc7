package egress

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// crowd is what a thousand hostile receivers do, each kind a share of them.
var crowd = []func(net.Conn){
	hold,
	reset,
	func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"); reset(c) },
	func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"); hold(c) },
	func(c net.Conn) { say(c, "HTTP/1.0 200 OK\r\n\r\n"); repeat(c, strings.Repeat("x", 4096)) },
	func(c net.Conn) { repeat(c, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n") },
	func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\n"); repeat(c, "X-Header: value\r\n") }, // without end
	func(c net.Conn) { say(c, "HTTP/1.1 200 OK\r\nX: "); repeat(c, strings.Repeat("x", 4096)) },
	func(c net.Conn) { say(c, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n") },
	func(c net.Conn) { say(c, "HTTP/1.1 503 Busy\r\nRetry-After: 99999999\r\nContent-Length: 0\r\n\r\n") },
}

// A thousand hostile receivers at once cost little memory, the receivers' own included, leave no goroutine behind, and
// a sound receiver beside them gets all of its deliveries.
func TestAThousandHostileReceivers(t *testing.T) {
	const hostile, sound = 1000, 500
	client, _ := newClient(t, Config{})
	healthy := serve(t, func(http.ResponseWriter, *http.Request) {})
	send(t, client, healthy.URL)
	var urls []string
	for _, answer := range crowd {
		urls = append(urls, raw(t, func(conn net.Conn, _ string) { answer(conn) }))
	}
	alone := latencies(t, client, healthy.URL, sound)
	goroutines, memory := runtime.NumGoroutine(), inUse()

	var sends sync.WaitGroup
	for i := range hostile {
		sends.Go(func() {
			request := post(urls[i%len(urls)])
			request.Timeout = time.Second
			if got := client.Send(t.Context(), request); got.Kind == "" {
				t.Errorf("got no outcome: %+v", got)
			}
		})
	}
	beside := latencies(t, client, healthy.URL, sound)
	peak := inUse()
	sends.Wait()
	client.Close()
	healthy.Close()
	waitUntil(t, func() bool { return runtime.NumGoroutine() <= goroutines })
	t.Logf("a sound receiver's p99: %v alone, %v beside them; %d KiB more memory", alone, beside, int64(peak-memory)>>10)
	if peak > memory+64<<20 {
		t.Errorf("%d MiB more memory", (peak-memory)>>20)
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
			client.Send(ctx, post(urls[i%len(urls)]))
			ended.Add(1)
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
