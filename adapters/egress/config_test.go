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
	for port, want := range map[uint16]bool{0: false, 79: false, 80: true, 81: false, 443: true, 1023: false, 1024: true, 65535: true} {
		if DefaultPorts().Contain(port) != want {
			t.Errorf("port %d: %v", port, !want)
		}
	}
}
