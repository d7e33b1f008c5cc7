package egress

import (
	"fmt"
	"net"
	"net/netip"
)

// Own lists the addresses at which this process itself listens, for Config.Own: all of the machine's if the listener is
// not bound to a particular one.
func Own(listener net.Addr) ([]netip.AddrPort, error) {
	bound, err := netip.ParseAddrPort(listener.String())
	if err != nil {
		return nil, fmt.Errorf("the listener's address: %w", err)
	}
	if !bound.Addr().IsUnspecified() {
		return []netip.AddrPort{netip.AddrPortFrom(bound.Addr().Unmap(), bound.Port())}, nil
	}
	interfaces, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the machine's addresses: %w", err)
	}
	own := []netip.AddrPort{netip.AddrPortFrom(netip.IPv4Unspecified(), bound.Port()), netip.AddrPortFrom(netip.IPv6Unspecified(), bound.Port())}
	for _, address := range interfaces {
		if prefix, err := netip.ParsePrefix(address.String()); err == nil {
			own = append(own, netip.AddrPortFrom(prefix.Addr().Unmap(), bound.Port()))
		}
	}
	return own, nil
}

// isOwn reports whether the process itself would answer. A listener on all addresses answers on all of 127.0.0.0/8, and one
// on loopback answers connections to the unspecified address. A translator may lead back to it.
func (g *Guard) isOwn(target netip.AddrPort) bool {
	if len(g.own) == 0 {
		return false
	}
	addr := target.Addr().Unmap()
	for _, inner := range embedded(addr, g.allowedBits(addr)) {
		if g.isOwn(netip.AddrPortFrom(inner, target.Port())) {
			return true
		}
	}
	for _, own := range g.own {
		if own.Port() == target.Port() && (own.Addr() == addr || own.Addr().IsUnspecified() && addr.IsLoopback() || own.Addr().IsLoopback() && addr.IsUnspecified()) {
			return true
		}
	}
	return false
}
