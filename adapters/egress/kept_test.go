package egress

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// ending serves requests and ends the connection of the second in its own way.
func ending(t *testing.T, http2 bool, end func(*httptest.Server, http.ResponseWriter), behind ...func(net.Listener) net.Listener) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	var requests atomic.Int32
	var server *httptest.Server
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		if requests.Add(1) == 2 {
			end(server, w)
		}
	}))
	for _, wrap := range behind {
		server.Listener = wrap(server.Listener)
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = http2
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, &requests
}

// closeBehind says the text and closes the connection.
func closeBehind(t *testing.T, w http.ResponseWriter, text string) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Error(err)
		return
	}
	_, _ = io.WriteString(conn, text)
	_ = conn.Close()
}

func hangUp(server *httptest.Server, _ http.ResponseWriter) { server.CloseClientConnections() }

// A receiver that restarts, or has kept a connection for as long as it does, closes it whenever it likes: a request that meets that is
// no failed attempt.
func TestAKeptConnectionThatEndsUnderARequest(t *testing.T) {
	for proto, http2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2.0": true} {
		t.Run(proto, func(t *testing.T) {
			server, requests := ending(t, http2, hangUp)
			client, dials := newClient(t, Config{RootCAs: rootsOf(server)})
			for range 2 {
				got := send(t, client, server.URL)
				wantKind(t, got, delivery.KindSucceeded)
				if got.ResponseHeaders["X-Proto"] != proto {
					t.Errorf("got %+v", got)
				}
			}
			if n := len(dials.dialled()); n != 2 || requests.Load() != 3 {
				t.Errorf("%d requests on %d connections", requests.Load(), n)
			}
		})
	}
}

// shutting closes what it accepts, once it is shut.
type shutting struct {
	net.Listener
	shut atomic.Bool
}

func (l *shutting) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil && l.shut.Load() {
		_ = conn.Close()
	}
	return conn, err
}

// A receiver that is gone behind that is dialled once.
func TestAKeptConnectionThatEndsForGood(t *testing.T) {
	var door *shutting
	server, _ := ending(t, false, func(server *httptest.Server, w http.ResponseWriter) {
		door.shut.Store(true)
		hangUp(server, w)
	}, func(listener net.Listener) net.Listener {
		door = &shutting{Listener: listener}
		return door
	})
	client, dials := newClient(t, Config{RootCAs: rootsOf(server)})
	wantKind(t, send(t, client, server.URL), delivery.KindSucceeded)
	wantKind(t, send(t, client, server.URL), delivery.KindConnectionLost)
	if n := len(dials.dialled()); n != 2 {
		t.Errorf("dialled %d times", n)
	}
}

// A request that went out on a connection that ended counts as an attempt, though this process then has no file left to connect anew.
func TestNoFileIsLeftBehindAKeptConnection(t *testing.T) {
	server, _ := ending(t, false, hangUp)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	var asked atomic.Int32
	client, _ := newClient(t, Config{RootCAs: rootsOf(server), Resolver: resolverFunc(func(context.Context, string) ([]netip.Addr, error) {
		if asked.Add(1) > 1 {
			return nil, op("dial", os.NewSyscallError("socket", syscall.EMFILE))
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})})
	request := post("https://example.com:" + port + "/")
	request.Exhausted = func(err error) { t.Errorf("nothing was sent, it says: %v", err) }
	wantKind(t, client.Send(t.Context(), request), delivery.KindSucceeded)
	wantKind(t, client.Send(t.Context(), request), delivery.KindConnectionLost)
	if n := asked.Load(); n != 2 {
		t.Errorf("asked for the address %d times", n)
	}
}

// Whoever may have acted on a request does not get it again at once: it has begun to answer, or had it for a while.
func TestAnEndAfterTheRequestWasTaken(t *testing.T) {
	for name, end := range map[string]func(*httptest.Server, http.ResponseWriter){
		"in its answer": func(_ *httptest.Server, w http.ResponseWriter) { closeBehind(t, w, "HTTP/1.1 200 OK\r\n") },
		"after a while": func(server *httptest.Server, w http.ResponseWriter) {
			<-time.After(aMoment + aMoment/10)
			hangUp(server, w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, requests := ending(t, false, end)
			client, _ := newClient(t, Config{RootCAs: rootsOf(server)})
			wantKind(t, send(t, client, server.URL), delivery.KindSucceeded)
			wantKind(t, send(t, client, server.URL), delivery.KindConnectionLost)
			if n := requests.Load(); n != 2 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A new connection is not ended because it was kept for long: its receiver refuses the request, and is not asked again at once.
func TestANewConnectionThatEndsUnderARequest(t *testing.T) {
	url := raw(t, func(net.Conn, string) {})
	client, dials := newClient(t, Config{})
	wantKind(t, send(t, client, url), delivery.KindConnectionLost)
	if n := len(dials.dialled()); n != 1 {
		t.Errorf("dialled %d times", n)
	}
}

// A receiver that closes each connection behind its answer without saying so is as well as any other.
func TestConnectionsThatCloseBehindTheAnswer(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { closeBehind(t, w, "HTTP/1.1 204 No Content\r\n\r\n") })
	client, _ := newClient(t, Config{})
	for range 500 {
		wantKind(t, send(t, client, server.URL), delivery.KindSucceeded)
	}
}

// Attempts that share a new connection, which their receiver ends instead of answering, have met no end of a kept one either: each is
// made once.
func TestANewConnectionThatEndsUnderABurst(t *testing.T) {
	const burst = 20
	var requests atomic.Int32
	var server *httptest.Server
	server = serveTLS(t, &tls.Config{}, func(_ http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%burst == 0 {
			server.CloseClientConnections()
		}
		<-r.Context().Done()
	})
	client, _ := newClient(t, Config{RootCAs: rootsOf(server)})
	var sends sync.WaitGroup
	for range burst {
		sends.Go(func() { wantKind(t, send(t, client, server.URL), delivery.KindConnectionLost) })
	}
	sends.Wait()
	if n := requests.Load(); n != burst {
		t.Errorf("%d requests of %d attempts", n, burst)
	}
}
