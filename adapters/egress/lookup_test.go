package egress

import (
	"context"
	"net"
	"net/netip"
	"testing"
)

// names is a resolver with a fixed answer for each name.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addrs, known := n[host]; known {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func TestPlainHTTPToANameNeedsAnAllowedNetworkWhenItIsWritten(t *testing.T) {
	inside, public := netip.MustParseAddr("10.20.0.7"), netip.MustParseAddr("93.184.216.34")
	client := New(Config{Allow: mustAllow(t, "10.20.0.0/16"), Resolver: names{
		"erp.internal.": {inside}, "www.example.com.": {public}, "both.example.com.": {inside, public},
	}})
	defer client.Close()
	for raw, want := range map[string]bool{
		"http://erp.internal/hook":      true,
		"http://www.example.com/hook":   false,
		"http://both.example.com/hook":  false,
		"http://gone.example.com/hook":  false,
		"https://www.example.com/hook":  true,
		"https://gone.example.com/hook": true, // judged at each dial, as every name is
	} {
		if _, err := client.CheckURL(raw); (err == nil) != want {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
