// Package hostile has receivers that do to their callers whatever a receiver can. They run in a process of their own,
// so that what is measured in the caller's is the caller's.
package hostile

import (
	"bufio"
	"io"
	"math"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/http2"
)

// Kind is one way of being hostile.
type Kind struct {
	Name   string
	Secure Security
	// Raw serves the connection instead of all else.
	Raw func(net.Conn)
	// Answer is called once a request has been read, over TLS if that is how the kind is secured.
	Answer func(net.Conn)
	// Begin and Frames serve HTTP/2: the first after the preface, the second for each request's headers.
	Begin  func(*http2.Framer)
	Frames func(f *http2.Framer, stream uint32)
}

// Security is what lies below HTTP.
type Security int

// What lies below HTTP: nothing, TLS, TLS with a certificate that is as large as one may be, and TLS that leads to HTTP/2.
const (
	Plain Security = iota
	TLS
	LargeTLS
	H2
)

// serve speaks with one caller until either has enough.
func (k Kind) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	switch {
	case k.Raw != nil:
		k.Raw(conn)
	case k.Frames != nil:
		k.frames(conn)
	default:
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		_, _ = io.Copy(io.Discard, request.Body)
		k.Answer(conn)
	}
}

func (k Kind) frames(conn net.Conn) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	k.Begin(f)
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if headers, ok := frame.(*http2.HeadersFrame); ok {
			k.Frames(f, headers.StreamID)
		}
	}
}

func say(conn net.Conn, text string) { _, _ = io.WriteString(conn, text) }

// hold waits until the caller has gone.
func hold(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// repeat writes until the caller has gone.
func repeat(conn net.Conn, text string) { times(conn, math.MaxInt, text) }

// times writes so often, unless the caller goes.
func times(conn net.Conn, n int, text string) {
	for range n {
		if _, err := io.WriteString(conn, text); err != nil {
			return
		}
	}
}

// drip writes a byte a second until the caller has gone.
func drip(conn net.Conn) {
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for range again.C {
		if _, err := io.WriteString(conn, "x"); err != nil {
			return
		}
	}
}

// reset ends the connection without a word to who reads.
func reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
}
