package egress

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// A receiver may want a request by HTTP/1.1, as those do that ask for a client certificate at some of their paths: it gets the request
// again at once, on a connection that both sides keep and may handshake a second time on.
func TestAReceiverMayWantHTTP1(t *testing.T) {
	var refused, taken atomic.Int32
	url, roots := connections(t, func(conn net.Conn) {
		secured := conn.(*tls.Conn)
		if err := secured.Handshake(); err != nil {
			return
		}
		if secured.ConnectionState().NegotiatedProtocol == "h2" {
			sendBack(conn, &refused, func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeHTTP11Required) })
			return
		}
		if version := secured.ConnectionState().Version; version != tls.VersionTLS12 {
			t.Errorf("%s cannot handshake a second time", tls.VersionName(version))
		}
		for requests := bufio.NewReader(conn); ; {
			request, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			if body, err := io.ReadAll(request.Body); err != nil || string(body) != `{"a":1}` || request.Host != conn.LocalAddr().String() {
				t.Errorf("%s got %q, %v", request.Host, body, err)
			}
			taken.Add(1)
			say(conn, "HTTP/1.1 204 No Content\r\n\r\n")
		}
	})
	client, dials := newClient(t, Config{RootCAs: roots})
	for range 2 {
		wantKind(t, send(t, client, url), delivery.KindSucceeded)
	}
	if n := len(dials.dialled()); n != 2 || refused.Load() != 2 || taken.Load() != 2 {
		t.Errorf("%d connections, %d requests refused and %d taken", n, refused.Load(), taken.Load())
	}
}

// sendBack refuses each request of the HTTP/2 connection.
func sendBack(conn net.Conn, refused *atomic.Int32, refuse func(f *http2.Framer, stream uint32)) {
	if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
		return
	}
	f := http2.NewFramer(conn, conn)
	_ = f.WriteSettings()
	for {
		frame, err := f.ReadFrame()
		if err != nil {
			return
		}
		if headers, ok := frame.(*http2.HeadersFrame); ok {
			refused.Add(1)
			refuse(f, headers.StreamID)
		}
	}
}

// A receiver that wants HTTP/1.1 and then speaks none is asked once, whether it refuses the request or the connection.
func TestAReceiverMayWantHTTP1Once(t *testing.T) {
	for name, refuse := range map[string]func(f *http2.Framer, stream uint32){
		"request":    func(f *http2.Framer, stream uint32) { _ = f.WriteRSTStream(stream, http2.ErrCodeHTTP11Required) },
		"connection": func(f *http2.Framer, _ uint32) { _ = f.WriteGoAway(0, http2.ErrCodeHTTP11Required, nil) },
	} {
		var refused atomic.Int32
		url, roots := connections(t, func(conn net.Conn) {
			secured := conn.(*tls.Conn)
			if err := secured.Handshake(); err == nil && secured.ConnectionState().NegotiatedProtocol == "h2" {
				sendBack(conn, &refused, refuse)
			}
		})
		client, dials := newClient(t, Config{RootCAs: roots})
		wantKind(t, send(t, client, url), delivery.KindConnectionLost)
		if n := len(dials.dialled()); n != 2 || refused.Load() != 1 {
			t.Errorf("%s: %d connections and %d requests", name, n, refused.Load())
		}
	}
}
