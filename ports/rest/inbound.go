package rest

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/domain/problem"
)

// Bodies are read before the caller's key is checked. What is held of unanswered requests is bounded, or anyone who can connect could fill
// the memory without a key.
const (
	// maxHeld is for all connections together, in bytes.
	maxHeld = 256 << 20
	// freeRead is what each connection may hold on top, in bytes: headers and small bodies, which pass whatever others send.
	freeRead = 32 << 10
)

// room is how many bytes connections may still hold.
type room struct{ left atomic.Int64 }

func newRoom(bytes int64) *room {
	r := &room{}
	r.left.Store(bytes)
	return r
}

func (r *room) take(bytes int64) bool {
	if r.left.Add(-bytes) >= 0 {
		return true
	}
	r.left.Add(bytes)
	return false
}

// inbound accepts connections that count what they read. It closes those that never send anything: with ReduceMemoryUsage the HTTP library
// waits for the first byte of a new connection for ever.
type inbound struct {
	net.Listener
	patience time.Duration
	room     *room
}

func (l inbound) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(l.patience)) // fails if the connection is gone already
	return &counted{Conn: conn, room: l.room}, nil
}

// counted is a connection that takes from the room what it has read since its last answer.
type counted struct {
	net.Conn
	room  *room
	lines lines
	read  atomic.Int64 // since the last answer
	held  atomic.Int64 // of the room
	// Either ends the connection, with an answer that says so:
	full   atomic.Bool // there was no room
	bareLF atomic.Bool // a line does not end in CR LF
}

var (
	errNoRoom = errors.New("too much is being received")
	errBareLF = errors.New("a line does not end in CR LF")
)

// Read counts after reading, since only what was read takes memory. What precedes a line that does not end in CR LF is returned first; the
// next call fails.
func (c *counted) Read(p []byte) (int, error) {
	if c.lines.broken {
		c.bareLF.Store(true)
		return 0, errBareLF
	}
	n, err := c.Conn.Read(p)
	if sound := c.lines.sound(p[:n]); sound < n {
		if n, err = sound, nil; n == 0 {
			return c.Read(p)
		}
	}
	more := c.read.Add(int64(n)) - freeRead - c.held.Load()
	if more <= 0 {
		return n, err
	}
	if !c.room.take(more) {
		c.full.Store(true)
		return 0, errNoRoom
	}
	c.held.Add(more)
	return n, err
}

// Write is the answer, so what was read is no longer held.
func (c *counted) Write(p []byte) (int, error) {
	c.letGo()
	return c.Conn.Write(p)
}

// Close may be called more than once.
func (c *counted) Close() error {
	c.letGo()
	return c.Conn.Close()
}

func (c *counted) letGo() {
	c.read.Store(0)
	c.room.left.Add(c.held.Swap(0))
}

// unread is why the connection's request could not be read, if the connection knows.
func unread(c *fiber.Ctx) error {
	conn, ok := c.Context().Conn().(*counted)
	switch {
	case ok && conn.full.Load():
		return problem.New(problem.Unavailable, "Too much is being received; try again in a second.")
	case ok && conn.bareLF.Load():
		return unsound("a line does not end in CR LF")
	}
	return nil
}
