package egress

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// answers is a resolver with fixed answers.
type answers map[string][]string

func (a answers) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	texts, found := a[host]
	if !found {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	addrs := make([]netip.Addr, len(texts))
	for i, text := range texts {
		addrs[i] = netip.MustParseAddr(text)
	}
	return addrs, nil
}

type resolverFunc func(context.Context, string) ([]netip.Addr, error)

func (f resolverFunc) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	return f(ctx, host)
}

// forbidden holds what no name may resolve to with the default configuration.
var forbidden = []string{
	"0.0.0.0", "10.1.2.3", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.8.8.8", "168.63.129.16", "169.254.169.254",
	"172.16.0.1", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1",
	"192.175.48.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::7f00:1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:0:8.8.8.8", "64:ff9b::7f00:1",
	"64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1",
	"2002:7f00:1::1", "2002:808:808::1", "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe80::1",
	"fe80::1%1", "2606:4700::1%eth0", "fec0::1", "ff02::1",
}

func TestForbiddenAnswersAreNeverDialled(t *testing.T) {
	for _, addr := range forbidden {
		for shape, list := range map[string][]string{
			"alone": {addr}, "first": {addr, "8.8.8.8"}, "last": {"8.8.8.8", "2606:4700::1111", addr},
		} {
			client, dials := newClient(t, Config{Allow: []netip.Prefix{}, Resolver: answers{"evil.example.": list}})
			got := send(t, client, "https://evil.example/")
			wantKind(t, got, delivery.KindBlockedAddress)
			if got.Error != errBlocked.Error() || len(dials.dialled()) != 0 {
				t.Errorf("%s %s: error %q, dialled %v", addr, shape, got.Error, dials.dialled())
			}
		}
	}
}

func TestForbiddenURLsAreNeverDialled(t *testing.T) {
	client, dials := newClient(t, Config{Allow: []netip.Prefix{}, Resolver: resolverFunc(
		func(_ context.Context, host string) ([]netip.Addr, error) {
			t.Errorf("%s was looked up", host)
			return nil, errors.New("never")
		})})
	for _, urls := range refused {
		for _, raw := range urls {
			wantKind(t, send(t, client, raw), delivery.KindBlockedAddress)
		}
	}
	if got := dials.dialled(); len(got) != 0 {
		t.Errorf("dialled %v", got)
	}
}

func TestPermit(t *testing.T) {
	guard := NewGuard(mustAllow(t, "10.0.0.0/8,169.254.0.0/16,100.100.100.200/32,64:ff9b::/96,fd00::/8,2002::/16,2001::/32,::/96"), nil)
	for _, test := range []struct {
		addr             string
		secured, inPlain bool
	}{
		{"8.8.8.8", true, false}, {"2606:4700::1111", true, false}, {"::ffff:8.8.8.8", true, false},
		{"10.1.2.3", true, true}, {"::ffff:10.1.2.3", true, true}, {"fd12::1", true, true},
		{"169.254.1.1", true, true}, {"169.254.169.254", false, false}, {"fd00:ec2::254", false, false},
		{"100.100.100.200", true, true}, {"100.100.100.201", false, false}, {"127.0.0.1", false, false},
		{"64:ff9b::8.8.8.8", true, true}, {"64:ff9b::10.0.0.1", true, true}, {"64:ff9b::127.0.0.1", false, false},
		{"64:ff9b::169.254.169.254", false, false}, {"64:ff9b::168.63.129.16", false, false},
		{"2002:808:808::1", true, true}, {"2002:a00:1::1", true, true}, {"2002:7f00:1::1", false, false}, {"2002:a9fe:a9fe::1", false, false},
		{"2001::f7f7:f7f7", true, true}, {"2001::f5ff:fffe", true, true}, {"2001::80ff:fffe", false, false}, {"2001::5601:5601", false, false}, // Teredo inverts it
		{"2001:0:c633:6401::f7f7:f7f7", true, true}, {"2001:0:c633:6401::80ff:fffe", false, false}, // by whichever server
		{"::8.8.8.8", true, true}, {"::10.0.0.1", true, true}, {"::127.0.0.1", false, false}, {"::169.254.169.254", false, false},
	} {
		target := netip.AddrPortFrom(netip.MustParseAddr(test.addr), 443)
		if got := guard.permit(target, false) == nil; got != test.secured {
			t.Errorf("%s: https %v", test.addr, got)
		}
		if got := guard.permit(target, true) == nil; got != test.inPlain {
			t.Errorf("%s: http %v", test.addr, got)
		}
		if guard.permit(netip.AddrPortFrom(target.Addr(), 22), false) == nil {
			t.Errorf("%s: port 22 passed", test.addr)
		}
	}
	if guard.permitAddr(netip.Addr{}, false) {
		t.Error("the invalid address passed")
	}
}

// Behind a translator of the operator's own (RFC 8215) a private network stays closed, wherever in the address RFC 6052 may have
// put the IPv4 address, unless that is allowed itself.
func TestOwnTranslatorOpensNoPrivateNetwork(t *testing.T) {
	for _, test := range []struct {
		allow, addr string
		want        bool
	}{
		{"64:ff9b:1::/96", "64:ff9b:1::8.8.8.8", true},
		{"64:ff9b:1::/96", "64:ff9b:1::10.0.0.1", false},
		{"64:ff9b:1::/96,10.0.0.0/8", "64:ff9b:1::10.0.0.1", true},
		{"64:ff9b:1::/96,10.0.0.0/8", "64:ff9b:1::192.168.0.1", false},
		{"64:ff9b:1::/96", "64:ff9b:1::127.0.0.1", false},
		{"64:ff9b:1::/96", "64:ff9b:1::169.254.169.254", false},
		{"64:ff9b:1::/96", "64:ff9b:1::168.63.129.16", false},
		{"64:ff9b:1::/96", "64:ff9b:1::", false},
		{"64:ff9b:1::10.0.0.1/128", "64:ff9b:1::10.0.0.1", false},
		{"64:ff9b:1::8.8.8.8/128", "64:ff9b:1::8.8.8.8", true},
		{"64:ff9b:1:fffe::/96", "64:ff9b:1:fffe::8.8.8.8", true},
		{"64:ff9b:1:fffe::/96", "64:ff9b:1:fffe::10.0.0.1", false},
		{"64:ff9b:1::/48", "64:ff9b:1::8.8.8.8", true},
		{"64:ff9b:1::/48", "64:ff9b:1::10.0.0.1", false},
		{"64:ff9b:1::/48", "64:ff9b:1:808:8:800::", true},      // 8.8.8.8 behind a prefix of 48 bits
		{"64:ff9b:1::/48", "64:ff9b:1:a00:0:100::", false},     // 10.0.0.1
		{"64:ff9b:1::/48", "64:ff9b:1:a00:0:100::808", false},  // the same, with a suffix
		{"64:ff9b:1::/48", "64:ff9b:1:a83f:81:1000::", false},  // 168.63.129.16, of which each part counts
		{"64:ff9b:1::/56", "64:ff9b:1:a8:3f:8110::", false},    // the same behind 56 bits
		{"64:ff9b:1::/56", "64:ff9b:1:8:8:808::", true},        // 8.8.8.8 behind 56 bits
		{"64:ff9b:1::/56", "64:ff9b:1:a:0:1::", false},         // 10.0.0.1
		{"64:ff9b:1::/64", "64:ff9b:1:0:8:808:800:0", true},    // 8.8.8.8 behind 64 bits
		{"64:ff9b:1::/64", "64:ff9b:1:0:a:0:100:0", false},     // 10.0.0.1
		{"64:ff9b:1::/48", "64:ff9b:1:0:a:0:100:0", false},     // the same, allowed by more than there is
		{"64:ff9b:1:0:a::/80", "64:ff9b:1:0:a::8.8.8.8", true}, // no room for another prefix but one of 96 bits
		{"64:ff9b::/32", "64:ff9b:1::10.0.0.1", false},
		{"64:ff9b:1::/96", "64:ff9b:2::8.8.8.8", false},
	} {
		guard := NewGuard(mustAllow(t, test.allow), nil)
		target := netip.AddrPortFrom(netip.MustParseAddr(test.addr), 443)
		if got := guard.permit(target, false) == nil; got != test.want {
			t.Errorf("%s with %s allowed: %v, want %v", test.addr, test.allow, got, test.want)
		}
	}
}

// A network that is allowed opens no cloud's metadata within it; the one address does, where it is allowed by itself.
func TestAllowedNetworksOpenNoMetadata(t *testing.T) {
	for _, text := range []string{
		"169.254.169.254", "169.254.170.2", "169.254.170.23", "169.254.0.23", "169.254.42.42", "100.100.100.200", "168.63.129.16",
		"192.0.0.192", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "fd00:c1::a9fe:a9fe", "fd00:100::100:200",
		"fd00:a9fe:a9fe::1", "fe80::a9fe:a9fe",
	} {
		addr := netip.MustParseAddr(text)
		for _, plain := range []bool{false, true} {
			for bits := range addr.BitLen() {
				around, _ := addr.Prefix(bits)
				if NewGuard([]netip.Prefix{around}, nil).permitAddr(addr, plain) {
					t.Errorf("%s passes with %s allowed", addr, around)
				}
			}
			if alone := netip.PrefixFrom(addr, addr.BitLen()); !NewGuard([]netip.Prefix{alone}, nil).permitAddr(addr, plain) {
				t.Errorf("%s is refused although it is allowed", addr)
			}
		}
	}
}

// No other test may leave the machine, and nor does this one: its dials are over before they begin, except for the guard.
func TestPublicAddressesAreForHTTPSAlone(t *testing.T) {
	client, dials := newClient(t, Config{})
	over, cancel := context.WithCancel(context.WithValue(t.Context(), attemptKey{}, asker{t.Context(), &tries{}}))
	cancel()
	target, err := client.guard.parse("https://8.8.8.8/")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.dialer.dialTLS(over, "tcp", poolKey("acme", target)); err == nil || errors.Is(err, errBlocked) {
		t.Errorf("https: %v", err)
	}
	if _, err := client.dialer.dialPlain(over, "tcp", poolKey("acme", target)); !errors.Is(err, errBlocked) {
		t.Errorf("http: %v", err)
	}
	if got := dials.dialled(); len(got) != 0 {
		t.Errorf("dialled %v", got)
	}
}

func TestPlainHTTPStaysWithinTheAllowedNetworks(t *testing.T) {
	client, dials := newClient(t, Config{Resolver: answers{
		"public.test.": {"8.8.8.8"}, "mixed.test.": {"127.0.0.1", "8.8.8.8"}, "private.test.": {"10.0.0.1"},
	}})
	for _, host := range []string{"public.test", "mixed.test", "private.test"} {
		wantKind(t, send(t, client, "http://"+host+":8080/"), delivery.KindBlockedAddress)
	}
	if got := dials.dialled(); len(got) != 0 {
		t.Errorf("dialled %v", got)
	}
}

func TestRebindingIsSeenAtTheNextDial(t *testing.T) {
	server := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	lookups := 0
	client, dials := newClient(t, Config{Resolver: resolverFunc(func(context.Context, string) ([]netip.Addr, error) {
		if lookups++; lookups > 1 {
			return []netip.Addr{netip.MustParseAddr("169.254.169.254")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	})})
	url := "http://rebind.test:" + portOfServer(t, server.Listener)
	wantKind(t, send(t, client, url), delivery.KindSucceeded)
	if lookups != 1 {
		t.Errorf("%d lookups for one dial", lookups)
	}
	wantKind(t, send(t, client, url), delivery.KindBlockedAddress)
	if got := dials.dialled(); len(got) != 1 {
		t.Errorf("dialled %v", got)
	}
}

func TestControlVetsWhatTheSocketConnectsTo(t *testing.T) {
	client, dials := newClient(t, Config{Allow: []netip.Prefix{}})
	target := netip.MustParseAddrPort("127.0.0.1:8080")
	if _, err := client.dialer.dialOne(t.Context(), target, false); !errors.Is(err, errBlocked) || len(dials.dialled()) != 0 {
		t.Errorf("got %v, dialled %v", err, dials.dialled())
	}
}

func TestLocalhostNeedsNoResolver(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	client, dials := newClient(t, Config{Allow: mustAllow(t, "127.0.0.0/8"), Resolver: answers{}})
	port := portOfServer(t, server.Listener)
	wantKind(t, send(t, client, "http://localhost:"+port), delivery.KindSucceeded)
	wantKind(t, send(t, client, "http://api.localhost:"+port), delivery.KindSucceeded)
	for _, addr := range dials.dialled() {
		if addr.Addr().String() != "127.0.0.1" {
			t.Errorf("dialled %v", addr)
		}
	}
}

func TestNextAddressIsTried(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) {})
	client, dials := newClient(t, Config{Resolver: answers{"many.test.": {"127.9.9.1", "127.9.9.2", "127.0.0.1"}}})
	wantKind(t, send(t, client, "http://many.test:"+portOfServer(t, server.Listener)), delivery.KindSucceeded)
	if got := dials.dialled(); len(got) != 3 {
		t.Errorf("dialled %v", got)
	}
}

func TestIPv6(t *testing.T) {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Log("this machine has no ::1, so only the parsing is tested:", err)
		if got, err := NewGuard(mustAllow(t, "::1/128"), nil).CheckURL("http://[::1]:8080/"); err != nil || got != "http://[::1]:8080/" {
			t.Errorf("got %q, %v", got, err)
		}
		return
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("X-Host", r.Host) }),
		ReadHeaderTimeout: long}
	go func() { _ = server.Serve(listener) }()
	defer server.Close()
	client, dials := newClient(t, Config{})
	got := send(t, client, "http://"+listener.Addr().String())
	wantKind(t, got, delivery.KindSucceeded)
	if got.ResponseHeaders["X-Host"] != listener.Addr().String() || dials.dialled()[0].String() != listener.Addr().String() {
		t.Errorf("got %v, dialled %v", got.ResponseHeaders, dials.dialled())
	}
}

func TestDNSFailures(t *testing.T) {
	client, _ := newClient(t, Config{Resolver: resolverFunc(func(_ context.Context, host string) ([]netip.Addr, error) {
		switch host {
		case "empty.test.":
			return nil, nil
		case "broken.test.":
			return nil, &net.DNSError{Err: "server misbehaving", Name: host, IsTemporary: true}
		case "slow.test.":
			return nil, &net.DNSError{Err: "i/o timeout", Name: host, IsTimeout: true}
		}
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	})})
	for host, want := range map[string]string{
		"empty.test": "the host name does not exist", "missing.test": "the host name does not exist",
		"broken.test": "the host name could not be resolved", "slow.test": "the host name could not be resolved",
	} {
		got := send(t, client, "https://"+host)
		wantKind(t, got, delivery.KindDNS)
		if got.Error != want {
			t.Errorf("%s: %q", host, got.Error)
		}
	}
}

// The transport goes on with a dial whose attempt is over: without an end of its own, each attempt at what does not answer would
// leave one for as long as the process lives.
func TestTimeoutCoversResolving(t *testing.T) {
	ended := make(chan struct{})
	client, _ := newClient(t, Config{Resolver: resolverFunc(func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		close(ended)
		return nil, ctx.Err()
	})})
	request := post("https://slow.test/")
	request.Timeout = 20 * time.Millisecond
	wantKind(t, client.Send(t.Context(), request), delivery.KindTimeout)
	select {
	case <-ended:
	case <-time.After(inTime):
		t.Error("the dial goes on")
	}
}

// Whose firewall drops what is sent looks elsewhere than whose program is slow.
func TestATimeoutTellsWhetherThereWasAConnection(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts for it, and nobody answers
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	for url, want := range map[string]string{
		"http://slow.test/":                 "no connection came about within the timeout",
		"https://" + silent.Addr().String(): "the TLS handshake was not complete within the timeout",
		"http://" + silent.Addr().String():  "the answer was not complete within the timeout",
	} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			client, _ := newClient(t, Config{Resolver: resolverFunc(func(ctx context.Context, _ string) ([]netip.Addr, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			})})
			request := post(url)
			request.Timeout = inTime
			got := client.Send(t.Context(), request)
			wantKind(t, got, delivery.KindTimeout)
			if got.Error != want {
				t.Errorf("got %q", got.Error)
			}
		})
	}
}

func TestNothingListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + listener.Addr().String()
	listener.Close()
	client, _ := newClient(t, Config{})
	wantKind(t, send(t, client, url), delivery.KindConnectionRefused)
}

func portOfServer(t testing.TB, listener net.Listener) string {
	t.Helper()
	return strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}
