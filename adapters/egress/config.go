package egress

import (
	"context"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// Config configures a Client. The zero value calls public addresses only, on the contract's default ports.
type Config struct {
	// Allow holds the networks that may be called although they are not public, and by plain http
	// (ORDINAVO_EGRESS_ALLOW). A cloud's metadata address is opened only by a prefix of that single address.
	Allow []netip.Prefix
	// Ports may be called (ORDINAVO_EGRESS_PORTS); empty means DefaultPorts.
	Ports PortRanges
	// Own is where this process itself listens. It is never called, whatever is allowed: through it a tenant could reach
	// what only the service's neighbours may, such as its metrics, or make the service deliver to itself.
	Own []netip.AddrPort
	// Clock stamps outcomes and reads dates in Retry-After; nil means time.Now.
	Clock func() time.Time
	// MaxIdleConns bounds the idle HTTP/1 connections of all tenants together; 0 means 1024. HTTP/2 has one connection
	// for each tenant and host; both kinds end after 4 s without use.
	MaxIdleConns int
	// Resolver looks names up; nil means Go's own resolver, which needs no C library.
	Resolver Resolver
	// RootCAs are the authorities that sign receivers' certificates; nil means the system's.
	RootCAs *x509.CertPool
	// Recorder, if set, is called with each address right before a socket connects to it, so that a test can prove that
	// nothing left the machine. Several goroutines call it at once.
	Recorder func(netip.AddrPort)
}

// Resolver is the part of *net.Resolver that is used. Names are absolute, that is with a final dot, so that the
// machine's search domains never change what a tenant's URL means.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// PortRanges is a set of TCP ports.
type PortRanges []PortRange

// PortRange holds the ports from First to Last, both included.
type PortRange struct{ First, Last uint16 }

// DefaultPorts is the contract's default, 80,443,1024-65535 (section 6).
func DefaultPorts() PortRanges {
	return PortRanges{{80, 80}, {443, 443}, {1024, 65535}}
}

// Contain reports whether the port is in one of the ranges.
func (ranges PortRanges) Contain(port uint16) bool {
	return slices.ContainsFunc(ranges, func(r PortRange) bool { return r.First <= port && port <= r.Last })
}

// CheckAuthorities fails when the system has no authority that could sign a receiver's certificate, as in a container without their package:
// each attempt by https would fail, and say that the receiver is to blame.
func CheckAuthorities() error {
	pool, err := x509.SystemCertPool()
	if err == nil && pool.Equal(x509.NewCertPool()) {
		err = errors.New("none was found")
	}
	return err
}
