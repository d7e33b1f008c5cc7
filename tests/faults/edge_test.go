package faults_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// edgeScenarios are about who holds connections to the API, and has little or nothing to say.
var edgeScenarios = []scenario{
	{name: "ten thousand idle connections", does: "somebody opens them, asks something on each second one, and says no more", on: []kind{onSQLite}, run: idleConnections},
	{name: "slow requests", does: "senders drip a byte of a request a second, or say no more after an answer, until the service has had enough", on: []kind{onSQLite}, run: slowRequests},
}

const (
	idleOnes = 10_000
	// maxIdleCost is for a goroutine with its stack, what net, fasthttp and the runtime keep of a connection, and the database's
	// caches that fill meanwhile; no buffers.
	maxIdleCost = 16 << 10
)

func idleConnections(t *testing.T, k kind) string {
	s := open(t, fresh(t, k), nil, "GOMEMLIMIT=1GiB").prepare() // a process takes as many as its memory allows
	s.emit(200)
	s.settle()
	p := s.turn(0)
	before := highWater(t, p)
	var open []net.Conn
	hangUp := func() {
		for _, connection := range open {
			_ = connection.Close()
		}
	}
	t.Cleanup(hangUp)
	for i := range idleOnes {
		connection := dialAPI(t, p)
		open = append(open, connection)
		if i%2 == 0 {
			continue // this one never says anything
		}
		_, _ = io.WriteString(connection, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		_ = connection.SetReadDeadline(time.Now().Add(patience))
		if _, err := connection.Read(make([]byte, 4096)); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
	}
	s.emit(200)
	s.settle()
	each := (highWater(t, p) - before) / idleOnes
	if each > maxIdleCost {
		t.Errorf("I7: an idle connection costs %d bytes", each)
	}
	hangUp()
	return fmt.Sprintf("each costs %d bytes at most; %s", each, s.check())
}

func dialAPI(t *testing.T, p *process) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	return connection
}

// slowRequests holds the service, as it is started, to its times: 30 s for a request, from its first byte to its last, and 65 s
// for a connection that says no more: neither is closed sooner.
func slowRequests(t *testing.T, k kind) string {
	const (
		post  = "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + platformKey + "\r\nContent-Type: application/json\r\n"
		slack = 15 * time.Second // of a busy machine
		early = 2 * time.Second  // since a time is looked at now and then, and rounded
	)
	requests := []struct {
		head  string
		drips bool
		limit time.Duration
	}{
		{"", false, 65 * time.Second},
		{"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", true, 30 * time.Second},
		{post + "Content-Length: 100000\r\n\r\n", true, 30 * time.Second},
		{post + "Transfer-Encoding: chunked\r\n\r\nfffff\r\n", true, 30 * time.Second},
		{"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", false, 65 * time.Second},
	}
	s := open(t, fresh(t, k), nil).prepare()
	took := make([]time.Duration, len(requests))
	var senders sync.WaitGroup
	for i, r := range requests {
		connection := dialAPI(t, s.turn(0))
		senders.Go(func() {
			var err error
			if took[i], err = untilClosed(connection, r.head, r.drips); err != nil || took[i] > r.limit+slack || took[i] < r.limit-early {
				t.Errorf("I7: %q: closed after %s (%v)", r.head, took[i], err)
			}
		})
	}
	s.emit(200)
	senders.Wait()
	return fmt.Sprintf("nothing ever said, a header, a body, chunks, nothing after an answer: closed after %s; %s", took, s.check())
}

// untilClosed sends the head, and a byte a second behind it if it drips, and says when the connection was closed.
func untilClosed(connection net.Conn, head string, drips bool) (time.Duration, error) {
	began, closed := time.Now(), make(chan struct{})
	var dripping sync.WaitGroup
	dripping.Go(func() {
		_, _ = io.WriteString(connection, head)
		again := time.NewTicker(time.Second)
		defer again.Stop()
		for drips {
			select {
			case <-closed:
				return
			case <-again.C:
				_, _ = io.WriteString(connection, "x")
			}
		}
	})
	_ = connection.SetReadDeadline(began.Add(patience))
	_, err := io.Copy(io.Discard, connection)
	if out := net.Error(nil); !errors.As(err, &out) || !out.Timeout() {
		err = nil // however it was closed, it was
	}
	took := time.Since(began).Round(time.Second)
	close(closed)
	_ = connection.Close()
	dripping.Wait()
	return took, err
}
