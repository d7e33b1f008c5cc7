package egress

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// Cancelled is the Error of an outcome whose attempt ended because the caller's context did.
const Cancelled = "cancelled"

var (
	errInterim = errors.New("too many interim answers")
	errTries   = errors.New("the receiver took the request on none of several connections")
	// errUnconnected marks the error of an attempt that was handed no connection, as behind a firewall that drops what is sent.
	errUnconnected = errors.New("no connection came about")
	// errUnsecured marks it where there was one to secure by TLS, as with a program that hangs: the machine's kernel connects for it.
	errUnsecured = errors.New("the connection was not secured")
)

// explain names what went wrong. The texts are fixed, because network errors contain addresses of this side, and errors
// about answers quote the receiver at any length.
func explain(attempt context.Context, err error) (delivery.Kind, string) {
	var dns *net.DNSError
	var dial *net.OpError
	switch {
	case errors.Is(err, errTries):
		return delivery.KindConnectionLost, errTries.Error()
	case errors.Is(attempt.Err(), context.Canceled), errors.Is(err, errClosed):
		return delivery.KindConnectionLost, Cancelled
	case errors.Is(err, errBlocked):
		return delivery.KindBlockedAddress, errBlocked.Error()
	case exhausted(err):
		return delivery.KindConnectionLost, "the service had no room for another connection"
	case expired(attempt):
		return delivery.KindTimeout, explainTimeout(err)
	case errors.As(err, &dns):
		return delivery.KindDNS, explainDNS(dns)
	case errors.Is(err, errFlood):
		return delivery.KindResponseTooLarge, "the receiver sent far more than an answer"
	case errors.Is(err, errHeaderLines):
		return delivery.KindResponseTooLarge, "the answer has too many headers"
	case isTLS(err):
		return delivery.KindTLS, explainTLS(err)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		return delivery.KindTimeout, "the receiver did not respond"
	case errors.Is(err, context.Canceled):
		return delivery.KindConnectionLost, Cancelled
	case errors.As(err, &dial) && dial.Op == "dial":
		return delivery.KindConnectionRefused, "no connection could be made"
	case tooLarge(err):
		return delivery.KindResponseTooLarge, "the headers of the answer are too large"
	case isInterim(err):
		return delivery.KindResponseTooLarge, "the receiver sent too many interim (1xx) answers"
	}
	return delivery.KindConnectionLost, explainLoss(err)
}

// expired also asks the clock, since a dial with the same deadline may fail just before the attempt's context does.
func expired(attempt context.Context) bool {
	deadline, ok := attempt.Deadline()
	return errors.Is(attempt.Err(), context.DeadlineExceeded) || ok && !time.Now().Before(deadline)
}

// exhausted reports whether this process, or its machine, had no file left for a connection, or to ask for an address. The resolver keeps
// only the text of what its own connections failed with.
func exhausted(err error) bool {
	var dns *net.DNSError
	for _, code := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, code) || errors.As(err, &dns) && strings.HasSuffix(dns.Err, ": "+code.Error()) {
			return true
		}
	}
	return false
}

func explainTimeout(err error) string {
	switch {
	case errors.Is(err, errUnsecured):
		return "the TLS handshake was not complete within the timeout"
	case errors.Is(err, errUnconnected):
		return "no connection came about within the timeout"
	}
	return "the answer was not complete within the timeout"
}

func explainDNS(err *net.DNSError) string {
	if err.IsNotFound {
		return "the host name does not exist"
	}
	return "the host name could not be resolved"
}

// isTLS excludes a connection that merely broke during the handshake. A receiver that wants a client certificate
// says so only after the handshake of TLS 1.3, by an alert.
func isTLS(err error) bool {
	var handshake handshakeError
	if errors.As(err, &handshake) {
		return !isLoss(err)
	}
	return isAlert(err)
}

func isAlert(err error) bool {
	var alert *net.OpError
	return errors.As(err, &alert) && alert.Op == "remote error"
}

func isLoss(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || isReset(err)
}

// isClosing recognises by their texts what net/http says when a receiver closed a kept connection just before the request, and when
// an HTTP/2 connection was lost and another of its requests was the first to find out.
func isClosing(err error) bool {
	text := err.Error()
	return strings.Contains(text, "server closed idle connection") || strings.Contains(text, "client connection force closed")
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func explainTLS(err error) string {
	var (
		invalid   x509.CertificateInvalidError
		hostname  x509.HostnameError
		authority x509.UnknownAuthorityError
		record    tls.RecordHeaderError
	)
	switch {
	case isLargeHandshake(err):
		return "the TLS handshake is larger than 64 KiB: the certificates are too many or too large"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "the receiver's certificate has expired or is not valid yet"
	case errors.As(err, &hostname):
		return "the receiver's certificate is for another host"
	case errors.As(err, &authority) && isAlone(err):
		return "the receiver's certificate is not signed by a trusted authority, or its intermediate certificates are missing"
	case errors.As(err, &authority):
		return "the receiver's certificate is not signed by a trusted authority"
	case errors.As(err, &invalid):
		return "the receiver's certificate is not valid"
	case errors.As(err, &record):
		return "the receiver does not speak TLS at this port"
	case isAlert(err):
		return "the receiver refused the TLS handshake"
	}
	return "the TLS handshake failed"
}

// isAlone reports whether the receiver sent a certificate that somebody else signed, and none besides. Browsers get the rest elsewhere,
// so that its owner finds nothing wrong with it.
func isAlone(err error) bool {
	var refused *tls.CertificateVerificationError
	if !errors.As(err, &refused) || len(refused.UnverifiedCertificates) != 1 {
		return false
	}
	alone := refused.UnverifiedCertificates[0]
	return !bytes.Equal(alone.RawIssuer, alone.RawSubject)
}

// isLargeHandshake recognises by its text the error of crypto/tls for a message that it refuses to read.
func isLargeHandshake(err error) bool {
	return errors.Is(err, errHandshakeSize) || strings.Contains(err.Error(), "handshake message of length")
}

// tooLarge recognises by their texts two errors of net/http that have no other mark, one of HTTP/1 and one of HTTP/2. The
// tests of huge headers fail if a new version of Go words them differently. Headers that continue in more HTTP/2 frames
// beyond the bound make net/http end the connection with a general protocol error: a lost connection.
func tooLarge(err error) bool {
	text := err.Error()
	return strings.Contains(text, "server response headers exceeded") ||
		strings.Contains(text, "response header list larger than advertised limit")
}

// streamError has the shape that net/http's error of an HTTP/2 stream converts to in errors.As.
type streamError struct {
	StreamID uint32
	Code     uint32
	Cause    error
}

func (e streamError) Error() string { return "stream error" }

func isInterim(err error) bool {
	var stream streamError
	return errors.Is(err, errInterim) || errors.As(err, &stream) && errors.Is(stream.Cause, errInterim)
}

// isEnded reports whether the receiver reset the request's HTTP/2 stream, as a proxy does whose server dies while it answers. By the same
// error net/http says that an answer is not valid, with another cause.
func isEnded(err error) bool {
	var stream streamError
	return errors.As(err, &stream) && stream.Cause != nil && stream.Cause.Error() == "received from peer"
}

func explainLoss(err error) string {
	var handshake handshakeError
	switch unsecured := errors.As(err, &handshake); {
	case unsecured && isReset(err): // as Windows does with whom it shares no version or cipher
		return "the receiver reset the connection during the TLS handshake"
	case unsecured: // as a proxy does that goes by the host name and knows none like it
		return "the receiver closed the connection during the TLS handshake"
	case isReset(err):
		return "the receiver reset the connection"
	case isLoss(err), isClosing(err), strings.Contains(err.Error(), "server sent GOAWAY and closed the connection"):
		return "the receiver closed the connection before its answer was complete"
	case isEnded(err):
		return "the receiver ended the request before its answer was complete"
	case strings.Contains(err.Error(), "client connection lost"): // net/http's error when an HTTP/2 ping is not answered
		return "the connection is dead: nothing at its other end responds"
	}
	return "the receiver's answer is not valid HTTP or broke off"
}
