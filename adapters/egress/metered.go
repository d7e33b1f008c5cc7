package egress

import (
	"crypto/tls"
	"errors"
	"net"
	"sync"
)

const (
	// handshakeBytes is what a receiver may send until the TLS handshake is done, mostly certificates; crypto/tls would
	// keep 256 KiB of them.
	handshakeBytes = 64 << 10
	// exchangeBytes is what it may send in each exchange: interim answers, headers, and the body as far as it is read.
	exchangeBytes = 256 << 10
	// idleBytes is what it may send outside any exchange, such as more of a long HTTP/2 body before it hears that nobody
	// reads on.
	idleBytes = 2 * streamBuffer
	// recordBytes is added for each TLS record: opening thousands of a few bytes each, and reading the frames in them, costs far
	// more than as many bytes of a body.
	recordBytes = 256
	// exchangeWords is how many short writes this side may make in each exchange, and idleWords outside any: every ping and
	// settings frame of HTTP/2 is acknowledged, which costs more than reading a thousand frames that are not.
	exchangeWords = 64
	idleWords     = 32
	aWord         = 128 // bytes, TLS included
	// maxHeaderLines bounds one answer: each line costs some 130 bytes of memory, however short it is on the wire.
	maxHeaderLines = 128
)

var (
	errHandshakeSize = errors.New("the TLS handshake is too large")
	errFlood         = errors.New("the receiver sent far more than an answer")
	errHeaderLines   = errors.New("the answer has too many headers")
)

// metered bounds what the other end of a connection may send. A flood of HTTP/2 pings, settings or headers costs its sender
// nothing, and net/http would read it for as long as the connection lives.
type metered struct {
	net.Conn
	secured bool // by TLS
	mu      sync.Mutex
	records records
	left    int // bytes that may still come
	words   int // short writes that may still go out
	beyond  error
	failed  error // kept, since the reader may ask again
	out     int   // exchanges under way
	heard   bool  // an answer has come
}

func newMetered(conn net.Conn, secured bool) *metered {
	return &metered{Conn: conn, secured: secured, left: handshakeBytes, words: idleWords, beyond: errHandshakeSize}
}

// records follows TLS records through the bytes that are read.
type records struct {
	header int // bytes of it seen so far
	left   int // of the record that is being read
}

// in counts the records that begin in p.
func (r *records) in(p []byte) (begun int) {
	for len(p) > 0 {
		if r.header == recordHeader {
			n := min(r.left, len(p))
			if r.left, p = r.left-n, p[n:]; r.left == 0 {
				r.header = 0
			}
			continue
		}
		if r.header == 0 {
			begun++
		}
		if r.header >= recordHeader-2 { // the length
			r.left = r.left<<8 | int(p[0])
		}
		r.header++
		p = p[1:]
	}
	return begun
}

const recordHeader = 5

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Conn.Read(p)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left -= n
	if m.secured {
		m.left -= m.records.in(p[:n]) * recordBytes
	}
	if m.left < 0 && m.failed == nil {
		m.failed = m.beyond
	}
	if m.failed != nil {
		return 0, m.failed
	}
	return n, err
}

func (m *metered) Write(p []byte) (int, error) {
	if len(p) > aWord {
		return m.Conn.Write(p)
	}
	m.mu.Lock()
	if m.words--; m.words < 0 && m.failed == nil {
		m.failed = errFlood
	}
	failed := m.failed
	m.mu.Unlock()
	if failed != nil {
		return 0, failed
	}
	return m.Conn.Write(p)
}

// agreed is called when the handshake is over.
func (m *metered) agreed() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.left, m.beyond = idleBytes, errFlood
}

// begin is called for an exchange on this connection, and end once nobody waits for its answer any more.
func (m *metered) begin() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out++
	m.left, m.words = m.left+exchangeBytes, m.words+exchangeWords
}

func (m *metered) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.out--
	m.left, m.words = min(m.left, idleBytes+m.out*exchangeBytes), min(m.words, idleWords+m.out*exchangeWords)
}

func (m *metered) answer() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.heard = true
}

func (m *metered) hasAnswered() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.heard
}

// headed bounds the header lines of HTTP/1, starting over with each exchange. It sits above TLS.
type headed struct {
	net.Conn
	meter *metered

	mu      sync.Mutex
	lines   int
	column  int
	status  int // where in the status line: 0 before its first space, 1 before the status, 2 in or after it
	interim bool
	body    bool // the headers of the answer have ended
	failed  error
}

// Read fails behind the line that is one too many, since net/http takes a part of a line for a malformed one and drops the error.
func (h *headed) Read(p []byte) (int, error) {
	if err := h.refused(); err != nil {
		return 0, err
	}
	n, err := h.Conn.Read(p)
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, b := range p[:n] {
		if h.body {
			break
		}
		if h.see(b); h.lines > maxHeaderLines {
			h.failed = errHeaderLines
			return i + 1, nil
		}
	}
	return n, err
}

func (h *headed) refused() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.failed
}

// see follows the headers byte by byte until those of the final answer end.
func (h *headed) see(b byte) {
	switch {
	case b == '\n' && h.column == 0 && h.lines > 0:
		h.body = !h.interim
		h.lines, h.status, h.interim = 0, 0, false
	case b == '\n':
		h.lines, h.column = h.lines+1, 0
	case b == '\r':
	default:
		h.column++
		if h.lines == 0 {
			h.seeStatus(b)
		}
	}
}

// seeStatus finds the first digit of the status.
func (h *headed) seeStatus(b byte) {
	switch {
	case h.status == 0 && b == ' ':
		h.status = 1
	case h.status == 1 && b != ' ':
		h.status, h.interim = 2, b == '1'
	}
}

func (h *headed) begin() {
	h.mu.Lock()
	h.lines, h.column, h.status, h.interim, h.body = 0, 0, 0, false, false
	h.mu.Unlock()
	h.meter.begin()
}

// meterOf begins an exchange on a connection of the pool and returns its meter, whose end is to be called.
func meterOf(conn net.Conn) *metered {
	switch conn := conn.(type) {
	case *headed:
		conn.begin()
		return conn.meter
	case *tls.Conn: // HTTP/2
		meter := conn.NetConn().(*metered)
		meter.begin()
		return meter
	}
	panic("a connection that the dialer did not make")
}
