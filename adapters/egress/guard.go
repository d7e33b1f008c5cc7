package egress

import (
	"errors"
	"net/netip"
	"strings"
)

// errBlocked is the only refusal at a dial. It names neither address nor reason, so that a tenant learns nothing about
// the network that the service runs in.
var errBlocked = errors.New("the address or port of the URL may not be called")

// Guard decides what may be called: URLs when a subscription is written (CheckURL), addresses at each dial.
type Guard struct {
	allow []netip.Prefix
	ports PortRanges
	own   []netip.AddrPort
}

// NewGuard makes a Guard; empty ports mean DefaultPorts. See Config for the meaning of both.
func NewGuard(allow []netip.Prefix, ports PortRanges) *Guard {
	if len(ports) == 0 {
		ports = DefaultPorts()
	}
	return &Guard{allow: allow, ports: ports}
}

// permit vets one address that a connection would go to. Plain http may only go to allowed networks.
func (g *Guard) permit(target netip.AddrPort, plain bool) error {
	if !g.ports.Contain(target.Port()) || !g.permitAddr(target.Addr(), plain) || g.isOwn(target) {
		return errBlocked
	}
	return nil
}

func (g *Guard) permitAddr(addr netip.Addr, plain bool) bool {
	addr = addr.Unmap()
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	return g.allowed(addr) || !plain && public(addr)
}

// allowed reports whether the operator opened the address. A transition address counts as the IPv4 address within it
// too, or an allowed NAT64 prefix would open every private network behind the translator.
func (g *Guard) allowed(addr netip.Addr) bool {
	bits := g.allowedBits(addr)
	if bits < 0 || metadata[addr] && bits < addr.BitLen() {
		return false
	}
	for _, inner := range embedded(addr, bits) {
		if !g.allowed(inner) && !public(inner) {
			return false
		}
	}
	return true
}

// allowedBits is the length of the narrowest allowed network with the address in it; negative when there is none.
func (g *Guard) allowedBits(addr netip.Addr) int {
	bits := -1
	for _, prefix := range g.allow {
		if prefix.Contains(addr) {
			bits = max(bits, prefix.Bits())
		}
	}
	return bits
}

// loopback returns the loopback addresses that are allowed: the answer for localhost and the names under it, which are
// never looked up (RFC 6761, section 6.3).
func (g *Guard) loopback() []netip.Addr {
	var allowed []netip.Addr
	for _, addr := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		if g.allowed(addr) {
			allowed = append(allowed, addr)
		}
	}
	return allowed
}

func isLocalhost(host string) bool {
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}
