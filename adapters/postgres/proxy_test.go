package postgres_test

import (
	"bytes"
	"io"
	"net"
	"net/url"
	"sync/atomic"
	"testing"
)

// proxy stands between the service and the server, and cuts connections at a word of the service.
type proxy struct {
	url   string
	to    string
	armed atomic.Pointer[cut]
}

// cut is when a connection breaks.
type cut struct {
	word    string // in what the service sends
	forward bool   // the server still gets it, and the answer is lost
}

func newProxy(t *testing.T, server string) *proxy {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	p := &proxy{to: u.Host}
	u.Host = listener.Addr().String()
	p.url = u.String()
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

func (p *proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	var deaf atomic.Bool
	go func() {
		defer func() { _ = client.Close() }()
		buffer := make([]byte, 64<<10)
		for {
			n, err := server.Read(buffer)
			if err != nil || deaf.Load() {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := client.Read(buffer)
		if err != nil {
			return
		}
		if c := p.armed.Load(); c != nil && bytes.Contains(buffer[:n], []byte(c.word)) && p.armed.CompareAndSwap(c, nil) {
			if !c.forward {
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
