package egress

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// vanishing passes connections on to the server until they are to vanish: then those that there are stay open, and nothing goes
// through them any more. Others are passed on as before.
type vanishing struct {
	listener net.Listener
	mu       sync.Mutex
	gone     []*atomic.Bool
}

func newVanishing(t *testing.T, server string) *vanishing {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &vanishing{listener: listener}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial("tcp", server)
			if err != nil {
				_ = from.Close()
				continue
			}
			gone := &atomic.Bool{}
			v.mu.Lock()
			v.gone = append(v.gone, gone)
			v.mu.Unlock()
			pass := func(from, to net.Conn) {
				defer func() { _, _ = from.Close(), to.Close() }()
				_, _ = io.Copy(unless{to, gone}, from)
			}
			open.Go(func() { pass(from, to) })
			open.Go(func() { pass(to, from) })
		}
	})
	t.Cleanup(func() { _ = listener.Close(); open.Wait() })
	return v
}

func (v *vanishing) vanish() {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, gone := range v.gone {
		gone.Store(true)
	}
}

// unless swallows what is written once the connection has gone.
type unless struct {
	to   io.Writer
	gone *atomic.Bool
}

func (u unless) Write(p []byte) (int, error) {
	if u.gone.Load() {
		return len(p), nil
	}
	return u.to.Write(p)
}

// An HTTP/2 connection whose other end has gone without a word is found dead long before an attempt with the longest timeout runs
// into it, and costs no more than the attempts that were out: the next is sent on a new one.
func TestAVanishedPeerCostsOneAttempt(t *testing.T) {
	t.Parallel()
	cert := certificate(t, func(*x509.Certificate) {})
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	server := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Proto", r.Proto) })
	proxy := newVanishing(t, server.Listener.Addr().String())
	client, dials := newClient(t, Config{RootCAs: roots})
	defer client.Close()
	url := "https://" + proxy.listener.Addr().String() + "/"
	if got := send(t, client, url); got.ResponseHeaders["X-Proto"] != "HTTP/2.0" {
		t.Fatalf("got %+v", got)
	}
	proxy.vanish()
	lost := send(t, client, url)
	wantKind(t, lost, delivery.KindConnectionLost)
	if !strings.Contains(lost.Error, "dead") {
		t.Errorf("error %q", lost.Error)
	}
	wantKind(t, send(t, client, url), delivery.KindSucceeded)
	if n := len(dials.dialled()); n != 2 {
		t.Errorf("dialled %d times", n)
	}
}

// An idle HTTP/1 connection has nobody who would ask but the kernel: it does so often enough that what is dead has left the pool
// by the time that an attempt with the default timeout of 10 s has failed on it.
func TestTheKernelAsksForVanishedPeers(t *testing.T) {
	t.Parallel()
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	client, _ := newClient(t, Config{})
	conn, err := client.dialer.dialOne(t.Context(), netip.MustParseAddrPort(server.Listener.Addr().String()), true)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	bare, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	option := func(level, name int) (value int) {
		if err := bare.Control(func(fd uintptr) { value, err = syscall.GetsockoptInt(int(fd), level, name) }); err != nil {
			t.Fatal(err)
		}
		return value
	}
	idle, interval, count := option(syscall.IPPROTO_TCP, syscall.TCP_KEEPIDLE), option(syscall.IPPROTO_TCP, syscall.TCP_KEEPINTVL), option(syscall.IPPROTO_TCP, syscall.TCP_KEEPCNT)
	if on := option(syscall.SOL_SOCKET, syscall.SO_KEEPALIVE); on == 0 || idle+interval*count > 11 {
		t.Errorf("keep-alive %d: after %d s, every %d s, %d times", on, idle, interval, count)
	}
}
