package pgtest

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Proxy stands between a service and a server. It cuts connections at a word of the service, delays what is
// said, and lets nobody through.
type Proxy struct {
	URL string // that leads through it

	to    string
	armed atomic.Pointer[Cut]
	delay atomic.Int64 // of each answer, in nanoseconds
	asked atomic.Int64

	mu    sync.Mutex
	shut  bool
	conns map[net.Conn]bool
}

// Cut is when a connection breaks.
type Cut struct {
	Word    string // in what the service sends
	Forward bool   // the server still gets it, and the answer is lost
}

// NewProxy starts one before the server at the URL; it ends with the test.
func NewProxy(t testing.TB, server string) *Proxy {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{to: u.Host, conns: map[net.Conn]bool{}}
	t.Cleanup(func() { _ = listener.Close(); p.Shut(true) })
	u.Host = listener.Addr().String()
	p.URL = u.String()
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go p.serve(client)
		}
	}()
	return p
}

// Arm makes the next connection break at which the service says the word.
func (p *Proxy) Arm(c Cut) { p.armed.Store(&c) }

// Armed reports whether the last Cut has not come yet.
func (p *Proxy) Armed() bool { return p.armed.Load() != nil }

// Asked is how often services have said something: each is a round trip, when all that is said is short.
func (p *Proxy) Asked() int64 { return p.asked.Load() }

// Delay holds each answer of the server back.
func (p *Proxy) Delay(d time.Duration) { p.delay.Store(int64(d)) }

// Shut cuts all connections and takes no new ones, until it is opened again.
func (p *Proxy) Shut(shut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = shut
	if shut {
		for conn := range p.conns {
			_ = conn.Close()
		}
	}
}

// keep notes a connection, unless nobody is let through.
func (p *Proxy) keep(conn net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.shut {
		p.conns[conn] = true
	}
	return !p.shut
}

func (p *Proxy) forget(conn net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
	_ = conn.Close()
}

func (p *Proxy) serve(client net.Conn) {
	defer p.forget(client)
	if !p.keep(client) {
		return
	}
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var deaf atomic.Bool
	go p.answer(client, server, &deaf)
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		p.asked.Add(1)
		if c := p.armed.Load(); c != nil && bytes.Contains(buffer[:n], []byte(c.Word)) && p.armed.CompareAndSwap(c, nil) {
			if !c.Forward {
				return
			}
			deaf.Store(true)
			_, _ = server.Write(buffer[:n])
			_, _ = io.ReadAll(io.LimitReader(client, 1)) // until the client's end is cut
			return
		}
		if _, err := server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// answer passes on what the server says, until the service is to hear no more of it.
func (p *Proxy) answer(client, server net.Conn, deaf *atomic.Bool) {
	defer func() { _ = client.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		if err != nil || deaf.Load() {
			return
		}
		if d := time.Duration(p.delay.Load()); d > 0 {
			<-time.After(d)
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
