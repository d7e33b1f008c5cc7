package rest

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/domain/problem"
)

// Bodies are read before the caller's key is checked. What is held of unanswered requests is bounded, or anyone who can connect could fill
// the memory without a key.
const (
	// maxHeld is for all connections together, in bytes. Where memory is short they get a share of it: what a body becomes takes several times
	// as much.
	maxHeld     = 256 << 20
	heldOfWhole = 8
	// freeRead is what each connection may hold on top, in bytes: headers and small bodies, which pass whatever others send.
	freeRead = 32 << 10
	// perConnection is what one takes in the middle of a request, with its buffers here and in the kernel.
	perConnection = 64 << 10
)

// mayHold is how much is held of unanswered requests by a process that may use so many bytes: of one at least.
func mayHold(memory int64) int64 {
	if memory <= 0 {
		return maxHeld
	}
	return min(max(memory/heldOfWhole, maxRead), maxHeld)
}

// Connections is how many may be open at once where so many bytes may be used.
func Connections(memory int64) int {
	if memory <= 0 {
		return maxConnections
	}
	return int(min(memory/perConnection, maxConnections))
}

// overflowing is all that is taken from the HTTP library's log, where anybody could write anything: once a minute at most, that connections
// are refused since so many are open. Nothing else tells the operator: their requests come to no route.
type overflowing struct{ log *slog.Logger }

func (o overflowing) Printf(format string, args ...any) {
	if strings.HasPrefix(format, "The incoming connection cannot be served") {
		o.log.Error("connections are refused, since so many are open: with more memory a process takes up to 16,384", "open", fmt.Sprint(args...))
	}
}

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
	// full hears why there is no room for another connection.
	full func(error)
}

// acceptPause is the wait for connections to end, so that there is room for others.
const acceptPause = 100 * time.Millisecond

// Accept waits while the process may open no more files, or the machine has no room: to the HTTP library that would be the end of serving,
// and anyone who can connect could bring it about without a key.
func (l inbound) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	for noRoomFor(err) {
		l.full(err)
		<-time.After(acceptPause)
		conn, err = l.Listener.Accept()
	}
	if err != nil {
		return nil, err
	}
	_ = conn.SetReadDeadline(time.Now().Add(l.patience)) // fails if the connection is gone already
	return &counted{Conn: conn, room: l.room}, nil
}

func noRoomFor(err error) bool {
	var code syscall.Errno
	return errors.As(err, &code) && slices.Contains([]syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM}, code)
}

// counted is a connection that takes from the room what it has read since its last answer. The HTTP library makes room for a body, or a chunk,
// as soon as it has read how long that will be. So what announces more than freeRead is not read on before all that it announces is here.
type counted struct {
	net.Conn
	room  *room
	lines lines
	ahead [][]byte     // what is here, and not read on yet
	read  atomic.Int64 // since the last answer
	held  atomic.Int64 // of the room
	// Either ends the connection, with an answer that says so:
	full    atomic.Bool // there was no room
	unsound atomic.Bool // something is wrong with a line
	// continued says that the sender was told to continue before the library does it.
	continued bool
}

var (
	errNoRoom  = errors.New("too much is being received")
	errUnsound = errors.New("the request is not sound")
)

// Read returns what precedes a line that is wrong, or that announces much, first; the next call fails, or waits for what was announced.
func (c *counted) Read(p []byte) (int, error) {
	switch {
	case c.lines.wrong != "":
		c.unsound.Store(true)
		return 0, errUnsound
	case c.lines.due:
		if err := c.await(); err != nil {
			return 0, err
		}
	}
	if len(c.ahead) > 0 {
		return c.readOn(p), nil
	}
	n, err := c.receive(p)
	sound := c.lines.sound(p[:n])
	if sound == n {
		return n, err
	}
	if c.lines.due {
		c.ahead = append(c.ahead, bytes.Clone(p[sound:n]))
	}
	if sound == 0 {
		return c.Read(p)
	}
	return sound, nil
}

// readOn returns what was received ahead, and holds it no longer.
func (c *counted) readOn(p []byte) int {
	n := copy(p, c.ahead[0])
	if c.ahead[0] = c.ahead[0][n:]; len(c.ahead[0]) == 0 {
		c.ahead[0] = nil
		c.ahead = c.ahead[1:]
	}
	if len(c.ahead) == 0 {
		c.ahead = nil
	}
	return n
}

// Blocks are about as long as what is here already, so that memory grows with what comes.
const (
	minBlock = 4 << 10
	maxBlock = 64 << 10
)

// await receives all that was announced. If it does not come, the library never hears of it.
func (c *counted) await() error {
	if c.lines.expects {
		c.lines.expects, c.continued = false, true
		if _, err := c.Conn.Write(continueAnswer); err != nil {
			return err
		}
	}
	for c.lines.skip > 0 {
		last := c.ahead[len(c.ahead)-1]
		if len(last) == cap(last) {
			last = make([]byte, 0, min(max(c.read.Load(), minBlock), maxBlock))
			c.ahead = append(c.ahead, last)
		}
		n, err := c.receive(last[len(last):min(cap(last), len(last)+int(c.lines.skip))])
		if err != nil {
			c.ahead = nil
			return err
		}
		c.ahead[len(c.ahead)-1] = last[:len(last)+n]
		c.lines.skip -= int64(n)
	}
	c.lines.due = false
	return nil
}

// continueAnswer is as the library writes it.
var continueAnswer = []byte("HTTP/1.1 100 Continue\r\n\r\n")

// receive counts after reading, since only what was read takes memory.
func (c *counted) receive(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
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
	if c.continued {
		c.continued = false
		if bytes.Equal(p, continueAnswer) {
			return len(p), nil
		}
	}
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
	case ok && conn.unsound.Load():
		return unsound(conn.lines.wrong)
	}
	return nil
}
