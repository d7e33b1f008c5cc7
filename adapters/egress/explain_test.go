package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// op is an error as the net package makes it, which names addresses.
func op(name string, err error) error {
	return &net.OpError{Op: name, Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 443}, Err: err}
}

func TestExplain(t *testing.T) {
	for _, test := range []struct {
		err  error
		want delivery.Kind
	}{
		{op("dial", errBlocked), delivery.KindBlockedAddress},
		{errors.Join(op("dial", syscall.ECONNREFUSED), op("dial", syscall.EHOSTUNREACH)), delivery.KindConnectionRefused},
		{op("dial", syscall.ENETUNREACH), delivery.KindConnectionRefused},
		{op("dial", syscall.ETIMEDOUT), delivery.KindTimeout},
		{op("read", os.ErrDeadlineExceeded), delivery.KindTimeout},
		{op("read", syscall.ETIMEDOUT), delivery.KindTimeout},
		{&net.DNSError{Err: "i/o timeout", IsTimeout: true}, delivery.KindDNS},
		{op("remote error", tls.AlertError(116)), delivery.KindTLS},
		{handshakeError{x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}}, delivery.KindTLS},
		{handshakeError{errors.New("tls: no supported versions")}, delivery.KindTLS},
		{handshakeError{op("read", syscall.ECONNRESET)}, delivery.KindConnectionLost},
		{handshakeError{io.EOF}, delivery.KindConnectionLost},
		{op("read", syscall.ECONNRESET), delivery.KindConnectionLost},
		{op("write", syscall.EPIPE), delivery.KindConnectionLost},
		{fmt.Errorf("broken: %w", io.ErrUnexpectedEOF), delivery.KindConnectionLost},
		{op("dial", context.Canceled), delivery.KindConnectionLost},
		{errClosed, delivery.KindConnectionLost},
		{fmt.Errorf("wrapped: %w", errInterim), delivery.KindResponseTooLarge},
		{fmt.Errorf("wrapped: %w", errFlood), delivery.KindResponseTooLarge},
		{fmt.Errorf("wrapped: %w", errHeaderLines), delivery.KindResponseTooLarge},
		{handshakeError{errHandshakeSize}, delivery.KindTLS},
		{errors.Join(op("dial", syscall.ECONNREFUSED), op("dial", os.NewSyscallError("socket", syscall.EMFILE))), delivery.KindConnectionLost},
	} {
		attempt, cancel := context.WithTimeout(t.Context(), time.Hour)
		if got, text := explain(attempt, test.err); got != test.want || text == "" || len(text) > 100 {
			t.Errorf("%v: got %q, %q, want %q", test.err, got, text, test.want)
		}
		cancel()
		if got, text := explain(attempt, test.err); got != delivery.KindConnectionLost || text != Cancelled {
			t.Errorf("%v: got %q, %q although the attempt was cancelled", test.err, got, text)
		}
	}
}

// Whoever looks into a delivery goes by the text: each cause has its own remedy.
func TestExplainTellsCausesApart(t *testing.T) {
	for want, err := range map[string]error{
		"the receiver's certificate is not valid":                           handshakeError{x509.CertificateInvalidError{Reason: x509.IncompatibleUsage}},
		"the receiver does not speak TLS at this port":                      handshakeError{tls.RecordHeaderError{}},
		"the receiver refused the TLS handshake":                            op("remote error", tls.AlertError(116)),
		"the TLS handshake failed":                                          handshakeError{errors.New("tls: no supported versions")},
		"the receiver reset the connection during the TLS handshake":        handshakeError{op("read", syscall.ECONNRESET)},
		"the receiver closed the connection during the TLS handshake":       handshakeError{io.EOF},
		"the receiver reset the connection":                                 op("read", syscall.ECONNRESET),
		"the receiver closed the connection before its answer was complete": fmt.Errorf("broken: %w", io.ErrUnexpectedEOF),
		"the receiver's answer is not valid HTTP or broke off":              errors.New("malformed HTTP response"),
		"the receiver did not respond":                                      op("dial", syscall.ETIMEDOUT),
		"no connection could be made":                                       op("dial", syscall.ECONNREFUSED),
		"the service had no room for another connection":                    op("dial", os.NewSyscallError("socket", syscall.ENFILE)),
	} {
		if _, got := explain(t.Context(), err); got != want {
			t.Errorf("%v: got %q, want %q", err, got, want)
		}
	}
}

// A receiver that closed the connection has not answered badly, whichever request and whichever protocol finds out.
func TestExplainTellsAClosedConnectionFromABadAnswer(t *testing.T) {
	for _, text := range []string{"http: server closed idle connection", "http2: client connection force closed via ClientConn.Close"} {
		err := errors.New(text)
		if _, got := explain(t.Context(), err); got != "the receiver closed the connection before its answer was complete" {
			t.Errorf("%s: got %q", text, got)
		}
		if met := (&tries{kept: true, since: time.Now()}); !met.metAnEnd(err) {
			t.Errorf("%s: no end of a kept connection", text)
		}
	}
}

func TestExplainAsksTheClockForATimeout(t *testing.T) {
	attempt, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, err := range []error{io.EOF, op("dial", os.ErrDeadlineExceeded), &net.DNSError{IsTimeout: true}} {
		if got, _ := explain(attempt, err); got != delivery.KindTimeout {
			t.Errorf("%v: got %q", err, got)
		}
	}
	if got, _ := explain(attempt, errBlocked); got != delivery.KindBlockedAddress {
		t.Errorf("a blocked address became %q", got)
	}
}

// TestWhoHasNoFileLeftIsNotTheReceiver, be it to connect with or to ask for its address: the sender hears of it apart from the outcome.
func TestWhoHasNoFileLeftIsNotTheReceiver(t *testing.T) {
	noFile := op("dial", os.NewSyscallError("socket", syscall.EMFILE))
	for err, want := range map[error]bool{
		noFile: true,
		&net.DNSError{Err: noFile.Error(), Name: "receiver.test.", IsTemporary: true}:       true,
		&net.DNSError{Err: "server misbehaving", Name: "too many open files.", Server: ":"}: false,
		op("dial", syscall.ECONNREFUSED):                                                    false,
	} {
		client, _ := newClient(t, Config{Resolver: resolverFunc(func(context.Context, string) ([]netip.Addr, error) { return nil, err })})
		request, heard := post("https://receiver.test/"), false
		request.Exhausted = func(error) { heard = true }
		if got := client.Send(t.Context(), request); heard != want || got.Succeeded() {
			t.Errorf("%v: heard of it: %t, and the outcome is %+v", err, heard, got)
		}
	}
}
