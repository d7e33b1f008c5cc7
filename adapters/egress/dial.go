package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/ordinavo/webhooks/domain/subscription"
)

var errClosed = errors.New("the client is closed")

// handshakeError marks what went wrong after connecting and before the first byte of HTTP.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

// dialer opens the connections of the pool: resolve once, vet every address, connect to the vetted addresses.
type dialer struct {
	guard    *Guard
	resolver Resolver
	recorder func(netip.AddrPort)
	tls      *tls.Config
	life     context.Context // ends with the client, and ends every dial that a request left behind
	stop     context.CancelFunc

	begun atomic.Int64 // dials since the transport was replaced

	mu     sync.Mutex
	closed bool
	dials  sync.WaitGroup
}

// dialPlain connects for http.
func (d *dialer) dialPlain(ctx context.Context, _, key string) (net.Conn, error) {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	conn, _, err := d.connect(ctx, key, true)
	if err != nil {
		return nil, err
	}
	meter := newMetered(conn, false)
	meter.agreed()
	return &headed{Conn: meter, meter: meter}, nil
}

// dialTLS connects for https and verifies the receiver's certificate.
func (d *dialer) dialTLS(ctx context.Context, _, key string) (net.Conn, error) {
	ctx, done, err := d.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	conn, host, err := d.connect(ctx, key, false)
	if err != nil {
		return nil, err
	}
	config := d.tls.Clone()
	config.ServerName = host
	if strings.Contains(key, http1Separator) {
		config.NextProtos, config.MaxVersion = []string{"http/1.1"}, tls.VersionTLS12 // 1.3 has no second handshake
	}
	askerOf(ctx).made.reached.Store(true)
	meter := newMetered(conn, true)
	secured := tls.Client(meter, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error is the one that counts
		return nil, handshakeError{err}
	}
	meter.agreed()
	if secured.ConnectionState().NegotiatedProtocol == "h2" {
		return secured, nil
	}
	return &headed{Conn: secured, meter: meter}, nil
}

// begin bounds a dial by its request's deadline and the client's life. The transport detaches dials from their requests
// so that another request may use the connection; without a bound, black holes would pile up dials.
func (d *dialer) begin(ctx context.Context) (context.Context, func(), error) {
	d.begun.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, nil, errClosed
	}
	by := askerOf(ctx)
	if err := by.attempt.Err(); err != nil { // given up, as after too many tries, before its dial began
		return nil, nil, err
	}
	by.made.dials.Add(1)
	deadline, bounded := by.attempt.Deadline()
	if !bounded {
		deadline = time.Now().Add(subscription.MaxTimeout)
	}
	d.dials.Add(1)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	unlink := context.AfterFunc(d.life, cancel)
	return ctx, func() {
		unlink()
		cancel()
		d.dials.Done()
	}, nil
}

// close ends all dials and waits for them.
func (d *dialer) close() {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	d.stop()
	d.dials.Wait()
}

func (d *dialer) connect(ctx context.Context, key string, plain bool) (net.Conn, string, error) {
	host, port, err := splitKey(key)
	if err != nil {
		return nil, "", err
	}
	addrs, err := d.resolve(ctx, host)
	if err != nil {
		return nil, "", err
	}
	targets := make([]netip.AddrPort, len(addrs))
	for i, addr := range addrs {
		targets[i] = netip.AddrPortFrom(addr.Unmap(), port)
		if err := d.guard.permit(targets[i], plain); err != nil {
			return nil, "", err
		}
	}
	conn, err := race(ctx, spread(targets), func(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
		return d.dialOne(ctx, target, plain)
	})
	return conn, host, err
}

// resolve returns at least one address. A literal is its own answer.
func (d *dialer) resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	if isLocalhost(host) {
		if addrs := d.guard.loopback(); len(addrs) > 0 {
			return addrs, nil
		}
		return nil, errBlocked
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", host+".")
	if err == nil && len(addrs) == 0 {
		err = &net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}
	}
	return addrs, err
}

// keepAlive detects within 11 s, and HTTP/2's pings within 10 s, that the other end of a kept connection is silently gone: about
// when an attempt on it times out. A receiver that vanished thus costs only the attempts in flight; later ones dial anew.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}

// dialOne connects to one vetted address. Control vets the address that the socket really connects to again, so that no
// path through the resolver or the standard library gets around the guard.
func (d *dialer) dialOne(ctx context.Context, target netip.AddrPort, plain bool) (net.Conn, error) {
	dialer := net.Dialer{KeepAliveConfig: keepAlive, Control: func(_, address string, _ syscall.RawConn) error {
		actual, err := netip.ParseAddrPort(address)
		if err != nil {
			return errBlocked
		}
		if err := d.guard.permit(actual, plain); err != nil {
			return err
		}
		if d.recorder != nil {
			d.recorder(actual)
		}
		return nil
	}}
	return dialer.DialContext(ctx, "tcp", target.String())
}
