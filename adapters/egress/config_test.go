package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func mustAllow(t testing.TB, text string) (allow []netip.Prefix) {
	t.Helper()
	for network := range strings.SplitSeq(text, ",") {
		allow = append(allow, netip.MustParsePrefix(network))
	}
	return allow
}

func TestDefaultPorts(t *testing.T) {
	for port, want := range map[uint16]bool{0: false, 79: false, 80: true, 81: false, 442: false, 443: true, 444: false, 1023: false, 1024: true, 65535: true} {
		if DefaultPorts().Contain(port) != want {
			t.Errorf("port %d: %v", port, !want)
		}
	}
}

// What the operator sets takes the place of the default, and does not add to it.
func TestConfiguredPortsAreTheOnlyOnes(t *testing.T) {
	guard, addr := NewGuard(nil, PortRanges{{8443, 8443}}), netip.MustParseAddr("8.8.8.8")
	for port, open := range map[uint16]bool{8443: true, 443: false, 8444: false} {
		if got := guard.permit(netip.AddrPortFrom(addr, port), false) == nil; got != open {
			t.Errorf("port %d may be called: %t", port, got)
		}
	}
	if everywhere := NewGuard(mustAllow(t, "0.0.0.0/0"), nil); everywhere.permit(netip.MustParseAddrPort("10.1.2.3:443"), true) != nil {
		t.Error("an address is refused although the operator allows all")
	}
}
