package egress

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Config is what a Client is made from. The zero value calls public addresses only, on the contract's default ports.
type Config struct {
	// Allow holds the networks that may be called although they are not public, and by plain http
	// (ORDINAVO_EGRESS_ALLOW). A cloud's metadata address is opened only by a prefix of that single address.
	Allow []netip.Prefix
	// Ports may be called (ORDINAVO_EGRESS_PORTS); empty means DefaultPorts.
	Ports PortRanges
	// Own is where this process itself listens. It is never called, whatever is allowed: a tenant could reach through it
	// what only the service's neighbours may, such as its metrics, or make it deliver to itself.
	Own []netip.AddrPort
	// Clock stamps outcomes and reads dates in Retry-After; nil means time.Now.
	Clock func() time.Time
	// MaxIdleConns bounds the idle HTTP/1 connections of all tenants together; 0 means 1024. HTTP/2 has one connection
	// for each tenant and host; both kinds end after 30 s without use.
	MaxIdleConns int
	// MaxIdleConnsPerHost bounds the idle connections of one tenant to one host; 0 means 256.
	MaxIdleConnsPerHost int
	// MaxConnsPerHost bounds the connections of one tenant to one host, and waiting for one counts against the
	// timeout; 0 means that only the caller's concurrency bounds them.
	MaxConnsPerHost int
	// Resolver looks names up; nil means Go's own resolver, which needs no C library.
	Resolver Resolver
	// RootCAs are the authorities that sign receivers' certificates; nil means the system's.
	RootCAs *x509.CertPool
	// Recorder, when set, hears of each address right before a socket connects to it, so that a test can prove that
	// nothing left the machine. It is called by several goroutines at once.
	Recorder func(netip.AddrPort)
}

// Resolver is the part of *net.Resolver that is used. Names arrive absolute, that is with a final dot, so that the
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
	for _, r := range ranges {
		if r.First <= port && port <= r.Last {
			return true
		}
	}
	return false
}

// ParsePorts reads a list like 80,443,1024-65535. Ports are 1 to 65535; an empty list is an error, as nothing could be
// called with it.
func ParsePorts(text string) (PortRanges, error) {
	var ranges PortRanges
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(strings.TrimSpace(part), "-")
		if !isRange {
			last = first
		}
		r, err := parseRange(first, last)
		if err != nil {
			return nil, fmt.Errorf("ports %q: %w", part, err)
		}
		ranges = append(ranges, r)
	}
	return ranges, nil
}

func parseRange(first, last string) (PortRange, error) {
	from, err := parsePort(first)
	if err != nil {
		return PortRange{}, err
	}
	to, err := parsePort(last)
	if err != nil {
		return PortRange{}, err
	}
	if from > to {
		return PortRange{}, fmt.Errorf("%d is above %d", from, to)
	}
	return PortRange{from, to}, nil
}

func parsePort(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("%q is not a port from 1 to 65535", text)
	}
	return uint16(port), nil
}

// ParseAllow reads a list of networks like 127.0.0.0/8,::1/128; empty text is an empty list. Bits of an address beyond
// its prefix are an error, since they are most often a slip that opens more than was meant.
func ParseAllow(text string) ([]netip.Prefix, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	var prefixes []netip.Prefix
	for part := range strings.SplitSeq(text, ",") {
		prefix, err := parseNetwork(strings.TrimSpace(part))
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is not a network like 10.0.0.0/8", text)
	}
	if prefix.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%q: write the IPv4 network itself", text)
	}
	if prefix != prefix.Masked() {
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its prefix; did you mean %s?", text, prefix.Masked())
	}
	return prefix, nil
}
