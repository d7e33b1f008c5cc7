// Package egress sends deliveries over HTTP and keeps them away from places that no tenant may reach: it checks URLs when
// they are written, vets each address at each dial, and reads no more of an answer than it has to.
package egress

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/subscription"
)

const (
	// idleTimeout is shorter than that of common servers, 5 s by default in Node.js and Apache, so that hardly any request goes out
	// on a connection that its receiver is about to close. Also, net/http keeps a broken HTTP/2 connection, buffers and all, for as
	// long as an idle one.
	idleTimeout     = 4 * time.Second
	maxHeaderBytes  = 16 << 10        // of an answer, on the wire: what a receiver that then falls silent can make this process hold
	streamBuffer    = 64 << 10        // what an HTTP/2 receiver may send ahead of the reader on each stream
	connBuffer      = 1 << 20         // the same for a connection
	pingAfter       = 5 * time.Second // see keepAlive
	pingTimeout     = 5 * time.Second
	defaultIdle     = 1024
	keptIdlePerHost = 256 // as many attempts as a subscription may have in flight: with fewer kept, busy receivers are dialled again and again
)

// Client sends deliveries; it implements dispatch.Sender. It is safe for concurrent use and keeps connections alive, in
// one pool whose keys begin with the tenant: tenants never share a connection, and the pool's bounds hold for all of them
// together.
type Client struct {
	guard     *Guard
	dialer    *dialer
	made      func() *http.Transport
	transport atomic.Pointer[http.Transport] // the one to send by; see carrier
	targets   targets
	clock     func() time.Time
}

// New makes a Client. Close it after the last Send.
func New(config Config) *Client {
	life, stop := context.WithCancel(context.Background())
	client := &Client{guard: NewGuard(config.Allow, config.Ports), clock: config.Clock}
	client.guard.own = config.Own
	if client.clock == nil {
		client.clock = time.Now
	}
	client.dialer = &dialer{
		guard:    client.guard,
		resolver: config.Resolver,
		recorder: config.Recorder,
		tls: &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, RootCAs: config.RootCAs,
			Renegotiation: tls.RenegotiateOnceAsClient}, // as receivers do that ask for a client certificate at some paths, even where they need none
		life: life,
		stop: stop,
	}
	if client.dialer.resolver == nil {
		client.dialer.resolver = &net.Resolver{PreferGo: true}
	}
	client.made = func() *http.Transport { return newTransport(config, client.dialer) }
	client.transport.Store(client.made())
	return client
}

// maxDials is how many connections a transport dials before another takes its place. It keeps half a kilobyte for each address at which it
// never had an idle connection, for as long as it lives, and a tenant may think up any number of addresses.
const maxDials = 16 << 10

// carrier is the transport to send by. What is under way by one that has been replaced goes on, and its connections end
// behind that, or with IdleConnTimeout.
func (c *Client) carrier() *http.Transport {
	if n := c.dialer.begun.Load(); n >= maxDials && c.dialer.begun.CompareAndSwap(n, 0) {
		c.transport.Swap(c.made()).CloseIdleConnections()
	}
	return c.transport.Load()
}

// newTransport leaves out on purpose: Proxy (HTTP_PROXY would take the dial out of the guard's sight), compression (a
// receiver could send a gzip bomb), and TLS sessions kept across connections (they would link tenants).
func newTransport(config Config, d *dialer) *http.Transport {
	return &http.Transport{
		DialContext:            d.dialPlain,
		DialTLSContext:         d.dialTLS,
		ForceAttemptHTTP2:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		IdleConnTimeout:        idleTimeout,
		MaxIdleConns:           cmp.Or(config.MaxIdleConns, defaultIdle),
		MaxIdleConnsPerHost:    keptIdlePerHost,
		HTTP2: &http.HTTP2Config{
			MaxReceiveBufferPerStream:     streamBuffer,
			MaxReceiveBufferPerConnection: connBuffer,
			SendPingTimeout:               pingAfter,
			PingTimeout:                   pingTimeout,
		},
	}
}

// CheckURL is Guard.CheckURL with the client's configuration. It also looks up the host name of a plain http URL, for at
// most lookupTimeout: plain http is for allowed networks only, so a URL that leads elsewhere is refused right away.
func (c *Client) CheckURL(raw string) (string, error) {
	canonical, err := c.guard.CheckURL(raw)
	if err != nil || !strings.HasPrefix(canonical, "http://") {
		return canonical, err
	}
	target, err := c.guard.parse(canonical)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(c.dialer.life, lookupTimeout)
	defer cancel()
	addrs, err := c.dialer.resolve(ctx, target.host)
	if err != nil {
		return "", errors.New("must begin with https://: plain http is for allowed networks, and its host was not found")
	}
	for _, addr := range addrs {
		if !c.guard.permitAddr(addr.Unmap(), true) {
			return "", errors.New("must begin with https://")
		}
	}
	return canonical, nil
}

const lookupTimeout = 2 * time.Second

// Close ends the dials under way, waits for them, and closes the idle connections.
func (c *Client) Close() {
	c.dialer.close()
	c.transport.Load().CloseIdleConnections()
}

// Send performs one HTTP exchange: a POST and its answer, without following redirects. It fills every field of the outcome
// but TraceID; RequestHeaders is the map of the request itself. Headers named Host, Content-Length, Transfer-Encoding or
// Connection are left out, since HTTP owns them. A timeout outside of (0, 30 s] counts as 30 s.
//
// Up to 64 KiB of the answer's body are read and 4 KiB kept. A longer body is no failure: the receiver has accepted the
// delivery with its 2xx, so reading stops and the connection is closed. An answer is too large (response_too_large) when its
// headers exceed 16 KiB or 128 lines, it has more than five interim (1xx) answers, or it comes with a flood of anything
// else. A body that breaks off, or is not complete in time, turns a 2xx into a failure; any other status is one already.
//
// When ctx is cancelled, the outcome is connection_lost with the text Cancelled. Nobody knows then what the receiver did;
// the caller, who can ask ctx, decides whether it counts.
//
// A request is sent again at once only when a kept connection ended under it before anything of an answer had come, as when its
// receiver restarts, or when an HTTP/2 receiver declared it unprocessed or wants it by HTTP/1.1; a receiver that keeps doing so is given
// up after maxTries connections, or when it ends maxDialsEach of them before the request is on its way. The body must never change again,
// even after Send.
func (c *Client) Send(ctx context.Context, request dispatch.Request) delivery.Outcome {
	outcome := delivery.Outcome{StartedAt: c.clock(), RequestHeaders: request.Headers}
	began := time.Now() // with the monotonic clock
	c.exchange(ctx, request, &outcome)
	outcome.Duration = time.Since(began)
	return outcome
}

func (c *Client) exchange(ctx context.Context, request dispatch.Request, outcome *delivery.Outcome) {
	timeout := request.Timeout
	if timeout <= 0 || timeout > subscription.MaxTimeout {
		timeout = subscription.MaxTimeout
	}
	attempt, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	made := &tries{giveUp: cancel}
	defer made.end()
	response, err := c.roundTrip(attempt, made, request)
	for err != nil && (made.metAnEnd(err) || made.turnsToHTTP1(err)) {
		response, err = c.roundTrip(attempt, made, request)
	}
	if err != nil {
		if made.n == 0 && exhausted(err) && request.Exhausted != nil { // a kept connection that has ended may have carried the request before
			request.Exhausted(err)
		}
		outcome.Kind, outcome.Error = explain(attempt, made.orElse(err))
		return
	}
	made.answered()
	defer func() { _ = response.Body.Close() }() // as much of the body as counts has been read
	c.judge(attempt, response, outcome)
}

func (c *Client) roundTrip(ctx context.Context, made *tries, request dispatch.Request) (*http.Response, error) {
	target, err := c.targets.find(c.guard, called{request.Tenant, request.URL})
	if err != nil {
		return nil, err
	}
	outgoing, err := http.NewRequestWithContext(traced(ctx, made), http.MethodPost, "", bytes.NewReader(request.Body))
	if err != nil {
		return nil, err
	}
	outgoing.Host, outgoing.URL = target.host, target.url
	if made.overHTTP1 {
		outgoing.URL = target.overHTTP1()
	}
	outgoing.Header = headersOf(request.Headers)
	return c.carrier().RoundTrip(outgoing)
}

// headersOf keeps the names as they are written. An empty User-Agent suppresses the transport's own.
func headersOf(headers map[string]string) http.Header {
	header := make(http.Header, len(headers)+1)
	values := make([]string, 0, len(headers)+1) // of all headers: each has one value
	set := func(name, value string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	set(userAgent, "")
	for name, value := range headers {
		switch {
		case strings.EqualFold(name, userAgent):
			set(userAgent, value)
		case !slices.ContainsFunc(ofHTTP, func(own string) bool { return strings.EqualFold(name, own) }):
			set(name, value)
		}
	}
	return header
}

const userAgent = "User-Agent"

// ofHTTP are the headers that HTTP owns.
var ofHTTP = []string{"Host", "Content-Length", "Transfer-Encoding", "Connection"}
