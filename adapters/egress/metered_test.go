package egress

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// Headers may have so many lines and no more, whatever comes before them, and whoever asks again after the refusal.
func TestHeaderLinesAreBounded(t *testing.T) {
	const interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
	lines := func(n int) string { return strings.Repeat("a:\r\n", n) } // the status line is one, too
	const end = "Content-Length: 0\r\n\r\n"
	for name, test := range map[string]struct {
		answer string
		want   delivery.Kind
	}{
		"as many as may be":                {"HTTP/1.1 200 OK\r\n" + lines(126) + end, delivery.KindSucceeded},
		"one more":                         {"HTTP/1.1 200 OK\r\n" + lines(127) + end, delivery.KindResponseTooLarge},
		"thousands":                        {"HTTP/1.1 200 OK\r\n" + lines(3000) + end, delivery.KindResponseTooLarge},
		"behind an interim answer":         {interim + "HTTP/1.1 200 OK\r\n" + lines(3000) + end, delivery.KindResponseTooLarge},
		"behind a strange interim answer":  {"HTTP/1.1   103 x\r\n\r\nHTTP/1.1 200 OK\r\n" + lines(3000) + end, delivery.KindResponseTooLarge},
		"in an interim answer":             {"HTTP/1.1 103 x\r\n" + lines(3000) + "\r\nHTTP/1.1 200 OK\r\n" + end, delivery.KindResponseTooLarge},
		"with LF alone":                    {"HTTP/1.1 200 OK\n" + strings.Repeat("a:\n", 3000) + "\n", delivery.KindResponseTooLarge},
		"that are read in pieces":          {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X-A-Rather-Long-Name-Of-A-Header: a\r\n", 150) + end, delivery.KindResponseTooLarge},
		"several interim answers of a few": {strings.Repeat("HTTP/1.1 103 x\r\n"+lines(maxHeaderLines/2)+"\r\n", maxInterim) + "HTTP/1.1 200 OK\r\n" + end, delivery.KindSucceeded},
		"a body of lines":                  {"HTTP/1.1 200 OK\r\nContent-Length: 3000\r\n\r\n" + strings.Repeat("\n", 3000), delivery.KindSucceeded},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := newClient(t, Config{})
			got := send(t, client, raw(t, func(conn net.Conn, _ string) { say(conn, test.answer) }))
			wantKind(t, got, test.want)
			client.Close()
		})
	}
}

// The bound is of one exchange, and a kept connection has any number of them.
func TestAKeptConnectionMayBringMoreThanOneExchange(t *testing.T) {
	body := strings.Repeat("\n", maxBodyRead-1)
	answer := func(w http.ResponseWriter, _ *http.Request) {
		for i := range maxHeaderLines / 2 {
			w.Header().Set(fmt.Sprintf("X-%d", i), "1")
		}
		_, _ = io.WriteString(w, body)
	}
	plain := serve(t, answer)
	secured := serveTLS(t, nil, answer)
	for _, url := range []string{plain.URL, secured.URL} {
		client, dials := newClient(t, Config{RootCAs: rootsOf(secured)})
		for range 3 * exchangeBytes / maxBodyRead {
			wantKind(t, send(t, client, url), delivery.KindSucceeded)
		}
		if n := len(dials.dialled()); n != 1 {
			t.Errorf("%s: dialled %d times", url, n)
		}
		client.Close()
	}
}

// Whoever owns the receiver is told why no connection comes about: its certificates are refused before crypto/tls keeps them.
func TestCertificatesAreNoLargerThanAHandshake(t *testing.T) {
	for _, size := range []int{64 << 10, 300 << 10} {
		names := make([]string, size/20)
		for i := range names {
			names[i] = fmt.Sprintf("host-%06d.example.com", i)
		}
		cert := certificate(t, func(c *x509.Certificate) { c.DNSNames = names })
		server := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(http.ResponseWriter, *http.Request) { t.Error("the receiver was reached") })
		client, _ := newClient(t, Config{RootCAs: rootsOf(server)})
		got := send(t, client, server.URL)
		wantKind(t, got, delivery.KindTLS)
		if !strings.Contains(got.Error, "certificates are too many or too large") {
			t.Errorf("%d bytes: error %q", size, got.Error)
		}
		client.Close()
	}
}

// A receiver that answers a large body early and resets the connection under it comes to one outcome or the other, at once.
func TestAnEarlyAnswerToALargeBody(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 100))
		say(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
		reset(conn)
		_ = conn.Close()
	}()
	client, dials := newClient(t, Config{})
	request := post("http://" + listener.Addr().String())
	request.Body = make([]byte, 8<<20)
	got := client.Send(t.Context(), request)
	if got.Kind != delivery.KindHTTPStatus && got.Kind != delivery.KindConnectionLost || len(dials.dialled()) != 1 {
		t.Errorf("got %s (%s) after %d dials", got.Kind, got.Error, len(dials.dialled()))
	}
	client.Close()
	listener.Close()
	<-served
}

// A receiver that agrees on another protocol than it then speaks has not answered.
func TestAnotherProtocolThanAgreedOn(t *testing.T) {
	for agreed, want := range map[string]delivery.Kind{"h2": delivery.KindConnectionLost, "http/1.1": delivery.KindConnectionLost, "spdy/3": delivery.KindTLS} {
		cert := certificate(t, func(*x509.Certificate) {})
		listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{agreed}})
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan struct{})
		go func() {
			defer close(served)
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			_, _ = conn.Read(make([]byte, 100))
			if agreed == "h2" {
				say(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			} else {
				say(conn, "\x00\x00\x00\x04\x00\x00\x00\x00\x00") // the settings of HTTP/2
			}
		}()
		roots := x509.NewCertPool()
		roots.AddCert(cert.Leaf)
		client, _ := newClient(t, Config{RootCAs: roots})
		wantKind(t, send(t, client, "https://"+listener.Addr().String()), want)
		client.Close()
		listener.Close()
		<-served
	}
}

// endless is a connection on which there is always more.
type endless struct{ net.Conn }

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// What exchanges have left of what they might bring is not there for who then floods an idle connection.
func TestWhatExchangesLeftIsNoRoomForAFlood(t *testing.T) {
	meter := newMetered(endless{}, false)
	meter.agreed()
	for range 100 {
		meter.begin()
		meter.end()
	}
	n, err := io.Copy(io.Discard, meter)
	if !errors.Is(err, errFlood) || n > idleBytes {
		t.Errorf("read %d bytes, and then %v", n, err)
	}
	meter.begin()
	if _, err := meter.Read(make([]byte, 1)); !errors.Is(err, errFlood) {
		t.Errorf("then %v", err)
	}
}

// silent is a connection to which anything can be written.
type silent struct{ net.Conn }

func (silent) Write(p []byte) (int, error) { return len(p), nil }

// A receiver cannot make this side acknowledge without end; what a request takes is no acknowledgement.
func TestAcknowledgementsAreBounded(t *testing.T) {
	meter := newMetered(silent{}, false)
	meter.agreed()
	meter.begin()
	for range idleWords + exchangeWords {
		for _, size := range []int{30, 1 << 10} {
			if _, err := meter.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := meter.Write(make([]byte, 30)); !errors.Is(err, errFlood) {
		t.Errorf("one more: %v", err)
	}
}

// inPieces gives a few bytes of what is left at a time.
type inPieces struct {
	net.Conn
	left []byte
	size int
}

func (c *inPieces) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.left[:min(c.size, len(c.left))])
	c.left = c.left[n:]
	return n, nil
}

// A flood of records that hold next to nothing ends before thousands of them were opened, however they arrive; an answer in records of
// a usual size has nearly all of its room.
func TestSmallRecordsWeighMore(t *testing.T) {
	for _, content := range []int{0, 17, 1400, 16 << 10} {
		record := append([]byte{23, 3, 3, byte(content >> 8), byte(content)}, make([]byte, content)...)
		want := (idleBytes + exchangeBytes) / (len(record) + recordBytes)
		for _, size := range []int{1, 3, 4, 5, 6, 512, 4 << 10} {
			meter := newMetered(&inPieces{left: bytes.Repeat(record, 2*want), size: size}, true)
			meter.agreed()
			meter.begin()
			n, err := io.Copy(io.Discard, meter)
			if got := int(n) / len(record); !errors.Is(err, errFlood) || got > want || got < want-1-size/len(record) {
				t.Errorf("of records with %d bytes, %d bytes at once: %d, want %d, and then %v", content, size, got, want, err)
			}
		}
	}
}
