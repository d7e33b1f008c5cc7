package egress

import (
	"net/netip"
	"slices"
	"testing"
)

func mustAllow(t testing.TB, text string) []netip.Prefix {
	t.Helper()
	allow, err := ParseAllow(text)
	if err != nil {
		t.Fatal(err)
	}
	return allow
}

func TestParsePorts(t *testing.T) {
	got, err := ParsePorts("80, 443,1024-65535")
	if err != nil || !slices.Equal(got, DefaultPorts()) {
		t.Errorf("got %v, %v", got, err)
	}
	for port, want := range map[uint16]bool{0: false, 79: false, 80: true, 81: false, 443: true, 1023: false, 1024: true, 65535: true} {
		if got.Contain(port) != want {
			t.Errorf("port %d: %v", port, !want)
		}
	}
	for _, text := range []string{"", ",", "80,", "0", "65536", "-1", "9-8", "1-", "a", "1-2-3", "80;443", "0x50"} {
		if got, err := ParsePorts(text); err == nil {
			t.Errorf("%q passed as %v", text, got)
		}
	}
}

func TestParseAllow(t *testing.T) {
	if got := mustAllow(t, "127.0.0.0/8, ::1/128"); len(got) != 2 || got[1].Addr() != netip.IPv6Loopback() {
		t.Errorf("got %v", got)
	}
	if got := mustAllow(t, " "); got != nil {
		t.Errorf("empty text gave %v", got)
	}
	for _, text := range []string{"127.0.0.1", "127.0.0.1/8", "127.0.0.0/33", "::ffff:10.0.0.0/104", "fe80::%eth0/64", "10.0.0.0/8,", "x"} {
		if got, err := ParseAllow(text); err == nil {
			t.Errorf("%q passed as %v", text, got)
		}
	}
}
