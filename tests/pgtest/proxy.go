package pgtest

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/url"
	"regexp"
	"slices"
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
	Word    string // or several, in a statement that the service has run
	Forward bool   // the server still gets it, with all that is sent together, and the answer is lost
}

// isAt reports whether the statement has the word as such: COMMIT is not in READ COMMITTED.
func (c *Cut) isAt(sql string) bool {
	return regexp.MustCompile(`\b` + regexp.QuoteMeta(c.Word) + `\b`).MatchString(sql)
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

// Asked is how often services have said something: each is a round trip, when all that is said is short. What keeps a connection fresh, now
// and then, does not count.
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
	buffer, heard := make([]byte, 64<<10), speech{named: map[string]string{}}
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		cut, end, upkeep := false, n, false
		heard.hear(buffer[:n], func(sql string, at int) {
			upkeep = sql == "DISCARD PLANS" || sql == "-- ping"
			c := p.armed.Load()
			if c == nil || !c.isAt(sql) || !p.armed.CompareAndSwap(c, nil) {
				return
			}
			if cut = !c.Forward; cut {
				end = at
			}
			deaf.Store(c.Forward)
		})
		if !upkeep {
			p.asked.Add(1)
		}
		if _, err := server.Write(buffer[:end]); err != nil || cut {
			return
		}
	}
}

// speech follows what a client says, to know which statements it runs.
type speech struct {
	begun bool
	rest  []byte            // the beginning of a message
	named map[string]string // prepared statements
}

// hear calls run for each statement that is run, with the place in what is said at which the message begins.
func (s *speech) hear(said []byte, run func(sql string, at int)) {
	all, at := slices.Concat(s.rest, said), -len(s.rest)
	for {
		kind := min(1, len(all)) // the first message of a connection has none
		if !s.begun {
			kind = 0
		}
		if len(all) < kind+4 {
			break
		}
		size := kind + int(binary.BigEndian.Uint32(all[kind:]))
		if len(all) < size {
			break
		}
		first, rest, _ := bytes.Cut(all[kind+4:size], []byte{0})
		second, _, _ := bytes.Cut(rest, []byte{0})
		switch {
		case !s.begun:
			s.begun = true
		case all[0] == 'Q':
			run(string(first), max(0, at))
		case all[0] == 'P':
			s.named[string(first)] = string(second)
		case all[0] == 'B':
			run(s.named[string(second)], max(0, at))
		}
		all, at = all[size:], at+size
	}
	s.rest = slices.Clone(all)
}

// ready is how the server's answer ends, without the state of the transaction.
var ready = []byte{'Z', 0, 0, 0, 5}

// answer passes on what the server says, until the service is to hear no more of it: then the connection ends with the answer.
func (p *Proxy) answer(client, server net.Conn, deaf *atomic.Bool) {
	defer func() { _ = client.Close() }()
	buffer, unheard := make([]byte, 64<<10), []byte(nil)
	for {
		n, err := server.Read(buffer)
		if err != nil {
			return
		}
		if deaf.Load() {
			if unheard = append(unheard, buffer[:n]...); bytes.Contains(unheard, ready) {
				return
			}
			continue
		}
		if d := time.Duration(p.delay.Load()); d > 0 {
			<-time.After(d)
		}
		if _, err := client.Write(buffer[:n]); err != nil {
			return
		}
	}
}
