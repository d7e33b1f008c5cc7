package rest_test

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// slowly is how long a request may take in these tests; in service it is 30 s.
const slowly = 100 * time.Millisecond

// serveSlow serves the harness's API with a short patience for requests.
func serveSlow(t *testing.T) string {
	t.Helper()
	h := newHarness(t)
	h.api.App().Server().ReadTimeout, h.api.App().Server().IdleTimeout = slowly, slowly
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- h.api.Serve(listener) }()
	t.Cleanup(func() {
		if err := h.api.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		<-served
	})
	return listener.Addr().String()
}

// TestAProxyLetsGoOfAnIdleConnectionFirst, which it does after a minute unless it is told otherwise.
func TestAProxyLetsGoOfAnIdleConnectionFirst(t *testing.T) {
	t.Parallel()
	if idle := newHarness(t).api.App().Server().IdleTimeout; idle < 63*time.Second {
		t.Errorf("an idle connection is closed after %s: a proxy may just be sending a request on it", idle)
	}
}

// A sender that drips a byte now and then is cut off when the request's time is over, however long it goes on.
func TestDrippingRequestsAreCutOff(t *testing.T) {
	t.Parallel()
	address := serveSlow(t)
	for name, head := range map[string]string{
		"nothing": "",
		"headers": "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"a body":  "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n",
		"chunks":  "POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
		"bare LF": "GET /healthz HTTP/1.1\nHost: x\n\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			connection, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = connection.Close() }()
			stop := make(chan struct{})
			defer close(stop)
			go drip(connection, head, stop)
			_ = connection.SetReadDeadline(time.Now().Add(200 * slowly))
			said, err := io.ReadAll(connection)
			if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
				t.Error("the connection was never closed")
			}
			if strings.Contains(string(said), " 200 ") {
				t.Errorf("the service said %q", said)
			}
		})
	}
}

// drip sends the head, if there is one, and a byte now and then behind it.
func drip(connection net.Conn, head string, stop <-chan struct{}) {
	_, _ = io.WriteString(connection, head)
	tick := time.NewTicker(slowly / 10)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			if head == "" {
				continue
			}
			if _, err := io.WriteString(connection, "x"); err != nil {
				return
			}
		}
	}
}
