package egress

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// maxDialled bounds how many addresses of one name are tried; all of its addresses are vetted.
	maxDialled = 6
	// dialStagger is how long an address has before the next one is tried beside it (RFC 8305, section 5), so that a
	// receiver with a dead IPv6 address is reached all the same.
	dialStagger = 250 * time.Millisecond
)

var errClosed = errors.New("the client is closed")

// handshakeError marks what went wrong between the connection and the first byte of HTTP.
type handshakeError struct{ error }

func (e handshakeError) Unwrap() error { return e.error }

// dialer opens the connections of the pool: resolve once, vet every address, connect to the vetted addresses.
type dialer struct {
	guard    *Guard
	resolver Resolver
	recorder func(netip.AddrPort)
	tls      *tls.Config
	life     context.Context // ends with the client, and with it every dial that a request left behind
	stop     context.CancelFunc

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
	return conn, err
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
	secured := tls.Client(conn, config)
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close() // the handshake's error is the one that counts
		return nil, handshakeError{err}
	}
	return secured, nil
}

// begin bounds a dial by its request's deadline and the client's life. The transport detaches dials from their requests
// so that another request may use the connection; without a bound, black holes would pile up dials.
func (d *dialer) begin(ctx context.Context) (context.Context, func(), error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, nil, errClosed
	}
	d.dials.Add(1)
	ctx, cancel := context.WithDeadline(ctx, deadlineOf(ctx))
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
	conn, err := d.race(ctx, spread(targets), plain)
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

// spread picks the addresses to try: the resolver's order, with the first of the other family moved up to second.
func spread(targets []netip.AddrPort) []netip.AddrPort {
	first := targets[0].Addr().Is4()
	other := slices.IndexFunc(targets, func(t netip.AddrPort) bool { return t.Addr().Is4() != first })
	if other > 1 {
		moved := targets[other]
		targets = slices.Insert(slices.Delete(targets, other, other+1), 1, moved)
	}
	return targets[:min(len(targets), maxDialled)]
}

type dialled struct {
	conn net.Conn
	err  error
}

// race connects to the targets, each a stagger after the one before it or as soon as that has failed. The first
// connection wins; the others are closed before it returns. When all fail the error joins theirs.
func (d *dialer) race(ctx context.Context, targets []netip.AddrPort, plain bool) (net.Conn, error) {
	if len(targets) == 1 {
		return d.dialOne(ctx, targets[0], plain)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results, running := make(chan dialled), 0
	next := time.NewTimer(0)
	defer next.Stop()
	var winner net.Conn
	var failures error
	for running > 0 || winner == nil && len(targets) > 0 {
		select {
		case <-next.C:
			if winner != nil || len(targets) == 0 {
				continue
			}
			target := targets[0]
			targets = targets[1:]
			running++
			go func() {
				conn, err := d.dialOne(ctx, target, plain)
				results <- dialled{conn, err}
			}()
			next.Reset(dialStagger)
		case result := <-results:
			running--
			switch {
			case result.err != nil:
				failures = errors.Join(failures, result.err)
				next.Reset(0)
			case winner != nil:
				_ = result.conn.Close() // never used
			default:
				winner = result.conn
				cancel()
			}
		}
	}
	if winner != nil {
		return winner, nil
	}
	return nil, failures
}

// dialOne connects to one vetted address. Control sees the address that the socket really connects to and vets it
// again, so that no path through the resolver or the standard library gets around the guard.
func (d *dialer) dialOne(ctx context.Context, target netip.AddrPort, plain bool) (net.Conn, error) {
	dialer := net.Dialer{Control: func(_, address string, _ syscall.RawConn) error {
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
