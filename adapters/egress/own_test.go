package egress

import (
	"net"
	"net/http"
	"net/netip"
	"testing"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// What the process itself serves is never called, by literal, by name or by any other of the machine's addresses, though
// all of its networks are allowed. The answer is the one of a blocked address, whether anybody listens there or not.
func TestOwnListenersAreNeverDialled(t *testing.T) {
	server := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the process called itself") })
	port := portOfServer(t, server.Listener)
	everywhere := &net.TCPAddr{IP: net.IPv4zero, Port: server.Listener.Addr().(*net.TCPAddr).Port}
	for name, listener := range map[string]net.Addr{"one address": server.Listener.Addr(), "all addresses": everywhere} {
		own, err := Own(listener)
		if err != nil {
			t.Fatal(err)
		}
		client, dials := newClient(t, Config{Own: own, Resolver: answers{"me.test.": {"127.0.0.1"}, "mapped.test.": {"::ffff:127.0.0.1"}}})
		for _, host := range []string{"127.0.0.1", "localhost", "me.test", "mapped.test"} {
			wantKind(t, send(t, client, "http://"+host+":"+port+"/"), delivery.KindBlockedAddress)
		}
		if _, err := client.CheckURL("http://127.0.0.1:" + port + "/"); err == nil {
			t.Errorf("%s: its own address may be written", name)
		}
		if n := len(dials.dialled()); n != 0 {
			t.Errorf("%s: dialled %d times", name, n)
		}
	}
	other := serve(t, func(http.ResponseWriter, *http.Request) {})
	client, _ := newClient(t, Config{Own: []netip.AddrPort{server.Listener.Addr().(*net.TCPAddr).AddrPort()}})
	wantKind(t, send(t, client, other.URL), delivery.KindSucceeded)
}

// Linux connects who asks for the unspecified address to the loopback.
func TestAProcessThatListensOnLoopbackOwnsTheUnspecifiedAddress(t *testing.T) {
	guard := NewGuard(mustAllow(t, "0.0.0.0/0"), nil)
	for listener, want := range map[string]bool{"127.0.0.1:8080": true, "[::1]:8080": true, "192.0.2.1:8080": false} {
		guard.own = []netip.AddrPort{netip.MustParseAddrPort(listener)}
		for _, target := range []string{"0.0.0.0:8080", "[::]:8080"} {
			if got := guard.isOwn(netip.MustParseAddrPort(target)); got != want {
				t.Errorf("%s, listening on %s: %v", target, listener, got)
			}
		}
	}
}

// Though the operator opened both the process's network and a translator, no way through the translator leads back.
func TestATranslatorLeadsNotBackToTheProcess(t *testing.T) {
	guard := NewGuard(mustAllow(t, "10.0.0.0/8,64:ff9b::/96,64:ff9b:1::/96"), nil)
	guard.own = []netip.AddrPort{netip.MustParseAddrPort("10.1.2.3:8080")}
	for target, want := range map[string]bool{
		"[64:ff9b::10.1.2.3]:8080": false, "[64:ff9b:1::10.1.2.3]:8080": false, "[64:ff9b::10.1.2.3]:8081": true, "[64:ff9b:1::10.1.2.4]:8080": true,
	} {
		if err := guard.permit(netip.MustParseAddrPort(target), true); (err == nil) != want {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func TestAProcessThatListensEverywhereOwnsAllOfItsAddresses(t *testing.T) {
	own, err := Own(&net.TCPAddr{IP: net.IPv6unspecified, Port: 8080})
	if err != nil {
		t.Fatal(err)
	}
	guard := NewGuard(mustAllow(t, "127.0.0.0/8,::1/128"), nil)
	guard.own = own
	owned := map[string]bool{
		"127.0.0.1:8080": true, "127.8.8.8:8080": true, "[::1]:8080": true, "[::ffff:127.0.0.1]:8080": true, "0.0.0.0:8080": true, "[::]:8080": true,
		"127.0.0.1:8081": false, "8.8.8.8:8080": false,
	}
	machine, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, address := range machine { // its address in the network that it serves is among them
		owned[net.JoinHostPort(address.(*net.IPNet).IP.String(), "8080")] = true
	}
	for target, want := range owned {
		if got := guard.isOwn(netip.MustParseAddrPort(target)); got != want {
			t.Errorf("%s: %v", target, got)
		}
	}
}

// An operator who opened the network would look for the fault there.
func TestCheckURLNamesTheServiceItself(t *testing.T) {
	guard := NewGuard(mustAllow(t, "127.0.0.0/8"), nil)
	guard.own = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:8080")}
	if _, err := guard.CheckURL("http://127.0.0.1:8080/hook"); err == nil || err.Error() != "must not lead to this service itself" {
		t.Errorf("got %v", err)
	}
	if _, err := guard.CheckURL("http://127.0.0.1:8081/hook"); err != nil {
		t.Errorf("another port: %v", err)
	}
}
