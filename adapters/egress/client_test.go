package egress

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var _ dispatch.Sender = (*Client)(nil)

// long is a timeout that a test does not expect to see.
const long = 20 * time.Second

// recorder keeps the addresses that sockets connected to.
type recorder struct {
	mu    sync.Mutex
	addrs []netip.AddrPort
}

func (r *recorder) record(addr netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.addrs = append(r.addrs, addr)
}

func (r *recorder) dialled() []netip.AddrPort {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]netip.AddrPort(nil), r.addrs...)
}

// newClient makes a client that may call this machine, unless the config says otherwise.
func newClient(t testing.TB, config Config) (*Client, *recorder) {
	t.Helper()
	if config.Allow == nil {
		config.Allow = mustAllow(t, "127.0.0.0/8,::1/128")
	}
	dials := &recorder{}
	config.Recorder = dials.record
	client := New(config)
	t.Cleanup(client.Close)
	return client, dials
}

func post(url string) dispatch.Request {
	return dispatch.Request{Tenant: "tenant-1", URL: url, Body: []byte(`{"a":1}`), Timeout: long,
		Headers: map[string]string{"Content-Type": "application/json", "webhook-id": "evt_1"}}
}

func send(t testing.TB, client *Client, url string) delivery.Outcome {
	t.Helper()
	return client.Send(t.Context(), post(url))
}

// sendTogether sends that many at once, and wants all of them to succeed.
func sendTogether(t testing.TB, client *Client, url string, many int) {
	t.Helper()
	var sends sync.WaitGroup
	for range many {
		sends.Go(func() {
			if got := send(t, client, url); !got.Succeeded() {
				t.Errorf("got %+v", got)
			}
		})
	}
	sends.Wait()
}

func serve(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// raw serves bare connections: answer gets each after one request has been read, and what was sent for it.
func raw(t testing.TB, answer func(conn net.Conn, sent string)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer conn.Close()
				var sent bytes.Buffer
				if request, err := http.ReadRequest(bufio.NewReader(io.TeeReader(conn, &sent))); err == nil {
					_, _ = io.Copy(io.Discard, request.Body)
				}
				answer(conn, sent.String())
			})
		}
	})
	t.Cleanup(func() { listener.Close(); open.Wait() })
	return "http://" + listener.Addr().String() + "/"
}

func wantKind(t testing.TB, got delivery.Outcome, want delivery.Kind) {
	t.Helper()
	if got.Kind != want {
		t.Fatalf("kind %q (%s), want %q; status %d", got.Kind, got.Error, want, got.Status)
	}
	if (got.Error == "") != (want == delivery.KindSucceeded) {
		t.Errorf("kind %q with error %q", got.Kind, got.Error)
	}
}

func TestSendSaysExactlyWhatItIsGiven(t *testing.T) {
	seen := make(chan string, 1)
	url := raw(t, func(conn net.Conn, sent string) {
		seen <- sent
		_, _ = io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
	})
	client, _ := newClient(t, Config{})
	request := post(url + "hook?a=b")
	request.Headers = map[string]string{"webhook-id": "evt_1", "X-Ordinavo-Event-Id": "evt_1",
		"User-Agent": "Ordinavo-Webhooks/1", "host": "evil.example", "content-length": "9"}
	wantKind(t, client.Send(t.Context(), request), delivery.KindSucceeded)
	got := strings.Split(<-seen, "\r\n")
	want := []string{"POST /hook?a=b HTTP/1.1", "Host: " + strings.Trim(url, "htp:/"), "User-Agent: Ordinavo-Webhooks/1",
		"Content-Length: 7", "webhook-id: evt_1", "X-Ordinavo-Event-Id: evt_1", "", `{"a":1}`}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("sent %q, want %q", got, want)
	}
}

func TestSendAddsNoUserAgent(t *testing.T) {
	seen := make(chan string, 1)
	url := raw(t, func(_ net.Conn, sent string) { seen <- sent })
	client, _ := newClient(t, Config{})
	send(t, client, url)
	if sent := <-seen; strings.Contains(sent, "User-Agent") || strings.Contains(sent, "Accept-Encoding") {
		t.Errorf("sent %q", sent)
	}
}

func TestSendFillsTheOutcome(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Receiver", "erp")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "taken")
	})
	start := time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)
	now := start.Add(-time.Hour)
	client, _ := newClient(t, Config{Clock: func() time.Time { now = now.Add(time.Hour); return now }}) // set forward during the attempt
	got := send(t, client, server.URL)
	wantKind(t, got, delivery.KindSucceeded)
	if got.Status != 202 || string(got.ResponseBody) != "taken" || got.ResponseHeaders["X-Receiver"] != "erp" {
		t.Errorf("got %+v", got)
	}
	if !got.StartedAt.Equal(start) || got.Duration <= 0 || got.Duration > subscription.MaxTimeout || got.RequestHeaders["webhook-id"] != "evt_1" {
		t.Errorf("got %+v", got)
	}
}

func TestSendNamesStatuses(t *testing.T) {
	for status, want := range map[int]delivery.Kind{
		200: delivery.KindSucceeded, 204: delivery.KindSucceeded, 299: delivery.KindSucceeded,
		300: delivery.KindRedirect, 304: delivery.KindRedirect, 308: delivery.KindRedirect,
		400: delivery.KindHTTPStatus, 410: delivery.KindHTTPStatus, 429: delivery.KindHTTPStatus, 599: delivery.KindHTTPStatus,
		999: delivery.KindHTTPStatus,
	} {
		server := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		client, _ := newClient(t, Config{})
		got := send(t, client, server.URL)
		wantKind(t, got, want)
		if got.Status != status || got.Gone() != (status == 410) {
			t.Errorf("%d: got %+v", status, got)
		}
	}
}

func TestBusyReceiverIsDialledOnce(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	client, dials := newClient(t, Config{})
	for range 20 {
		wantKind(t, send(t, client, server.URL), delivery.KindSucceeded)
	}
	if n := len(dials.dialled()); n != 1 {
		t.Errorf("dialled %d times", n)
	}
}

// A subscription may have 256 attempts in flight: with fewer connections kept, each burst would dial anew.
func TestABurstFindsTheConnectionsOfTheOneBefore(t *testing.T) {
	const burst = 256
	var arrived [2]sync.WaitGroup
	for i := range arrived {
		arrived[i].Add(burst)
	}
	var served atomic.Int32
	server := serve(t, func(http.ResponseWriter, *http.Request) {
		all := &arrived[(served.Add(1)-1)/burst]
		all.Done()
		all.Wait()
	})
	client, dials := newClient(t, Config{})
	for range arrived {
		sendTogether(t, client, server.URL, burst)
	}
	if n := len(dials.dialled()); n != burst {
		t.Errorf("dialled %d times", n)
	}
}

func TestConnectionsAreNotSharedBetweenTenants(t *testing.T) {
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			var mu sync.Mutex
			remotes := map[tenant.ID]map[string]bool{}
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				id := tenant.ID(r.Header.Get("X-Tenant"))
				if remotes[id] == nil {
					remotes[id] = map[string]bool{}
				}
				remotes[id][r.RemoteAddr] = true
				w.Header().Set("X-Proto", r.Proto+" "+r.Host)
			}))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.StartTLS()
			defer server.Close()
			client, dials := newClient(t, Config{RootCAs: rootsOf(server)})
			defer client.Close()
			for range 3 {
				for _, id := range []tenant.ID{"a", "A", "b.c", "xn--a"} {
					request := post(server.URL)
					request.Tenant = id
					request.Headers = map[string]string{"X-Tenant": string(id)}
					got := client.Send(t.Context(), request)
					wantKind(t, got, delivery.KindSucceeded)
					if want := protocol + " " + server.Listener.Addr().String(); got.ResponseHeaders["X-Proto"] != want {
						t.Errorf("got %q, want %q", got.ResponseHeaders["X-Proto"], want)
					}
				}
			}
			seen := map[string]bool{}
			for _, conns := range remotes {
				for conn := range conns {
					seen[conn] = true
				}
			}
			if len(seen) != 4 || len(dials.dialled()) != 4 {
				t.Errorf("%d connections, %d dials for 4 tenants", len(seen), len(dials.dialled()))
			}
		})
	}
}

func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was called") })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	client, dials := newClient(t, Config{Resolver: answers{"receiver.test.": {"127.0.0.1"}}})
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	wantKind(t, send(t, client, "http://receiver.test:"+port), delivery.KindSucceeded)
	if got := dials.dialled(); len(got) != 1 || got[0].String() != server.Listener.Addr().String() {
		t.Errorf("dialled %v", got)
	}
	if client.transport.Load().Proxy != nil { // net/http reads the environment once a process, perhaps before this test
		t.Error("the transport has a proxy")
	}
}

func TestConnectionThatTheReceiverClosedIsReplaced(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	client, dials := newClient(t, Config{})
	for range 3 {
		wantKind(t, send(t, client, server.URL), delivery.KindSucceeded)
		server.CloseClientConnections()
		waitUntil(t, func() bool { return poolIsEmpty() })
	}
	if n := len(dials.dialled()); n != 3 {
		t.Errorf("dialled %d times", n)
	}
}

func TestNothingIsLeftOver(t *testing.T) {
	before := runtime.NumGoroutine()
	url := raw(t, func(conn net.Conn, _ string) { hold(conn) })
	client, _ := newClient(t, Config{})
	var sends sync.WaitGroup
	for range 50 {
		sends.Go(func() {
			request := post(url)
			request.Timeout = short
			if got := client.Send(context.Background(), request); got.Kind != delivery.KindTimeout {
				t.Errorf("got %q (%s)", got.Kind, got.Error)
			}
		})
	}
	sends.Wait()
	client.Close()
	waitUntil(t, func() bool { return runtime.NumGoroutine() <= before+2 }) // the receiver's own
}

// poolIsEmpty reports whether no goroutine of a kept connection is left, seen from outside of net/http.
func poolIsEmpty() bool {
	buffer := make([]byte, 1<<20)
	return !bytes.Contains(buffer[:runtime.Stack(buffer, true)], []byte("persistConn"))
}

func waitUntil(t testing.TB, done func() bool) {
	t.Helper()
	look := time.NewTicker(time.Millisecond) // a busy loop would take a core from what it waits for
	defer look.Stop()
	for deadline := time.Now().Add(long); !done(); <-look.C {
		if time.Now().After(deadline) {
			t.Fatal("waited in vain")
		}
	}
}

func TestSendCancelled(t *testing.T) {
	client, _ := newClient(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	url := raw(t, func(conn net.Conn, _ string) { cancel(); _, _ = conn.Read(make([]byte, 1)) })
	got := client.Send(ctx, post(url))
	wantKind(t, got, delivery.KindConnectionLost)
	if got.Error != Cancelled {
		t.Errorf("error %q", got.Error)
	}
}

func TestSendAfterClose(t *testing.T) {
	client, dials := newClient(t, Config{})
	client.Close()
	wantKind(t, send(t, client, "http://127.0.0.1:9999/"), delivery.KindConnectionLost)
	if len(dials.dialled()) != 0 {
		t.Error("a closed client dialled")
	}
}

func TestCloseEndsDialsUnderWay(t *testing.T) {
	resolving := make(chan struct{})
	client, _ := newClient(t, Config{Resolver: resolverFunc(func(ctx context.Context, _ string) ([]netip.Addr, error) {
		close(resolving)
		<-ctx.Done()
		return nil, ctx.Err()
	})})
	done := make(chan delivery.Outcome, 1)
	go func() { done <- client.Send(context.Background(), post("https://slow.example/")) }()
	<-resolving
	client.Close()
	wantKind(t, <-done, delivery.KindConnectionLost)
}
