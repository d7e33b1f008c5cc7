package egress

import (
	"context"
	"net"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// serveDNS answers on a loopback port: alias.test is a CNAME whose target has the given IPv4 address, as are all names.
func serveDNS(t *testing.T, address [4]byte) *net.Resolver {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buffer := make([]byte, 1500)
		for {
			n, from, err := socket.ReadFrom(buffer)
			if err != nil {
				return
			}
			var query dnsmessage.Message
			if query.Unpack(buffer[:n]) == nil && len(query.Questions) == 1 {
				answer, _ := aliasAnswer(query, address).Pack()
				_, _ = socket.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { socket.Close(); <-done })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", socket.LocalAddr().String())
	}}
}

func aliasAnswer(query dnsmessage.Message, address [4]byte) *dnsmessage.Message {
	question := query.Questions[0]
	target := dnsmessage.MustNewName("inside.test.")
	answer := &dnsmessage.Message{
		Header:    dnsmessage.Header{ID: query.ID, Response: true, RecursionAvailable: true},
		Questions: query.Questions,
	}
	head := func(name dnsmessage.Name, kind dnsmessage.Type) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET, TTL: 1}
	}
	answer.Answers = append(answer.Answers, dnsmessage.Resource{
		Header: head(question.Name, dnsmessage.TypeCNAME), Body: &dnsmessage.CNAMEResource{CNAME: target}})
	if question.Type == dnsmessage.TypeA {
		answer.Answers = append(answer.Answers, dnsmessage.Resource{
			Header: head(target, dnsmessage.TypeA), Body: &dnsmessage.AResource{A: address}})
	}
	return answer
}

func TestAliasOfAPrivateAddressIsNotDialled(t *testing.T) {
	client, dials := newClient(t, Config{Resolver: serveDNS(t, [4]byte{10, 0, 0, 1})})
	wantKind(t, send(t, client, "https://alias.test/"), delivery.KindBlockedAddress)
	if got := dials.dialled(); len(got) != 0 {
		t.Errorf("dialled %v", got)
	}
}

func TestGoResolverServesTheDialler(t *testing.T) {
	url := raw(t, func(conn net.Conn, _ string) { say(conn, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") })
	_, port, _ := net.SplitHostPort(url[len("http://") : len(url)-1])
	client, _ := newClient(t, Config{Resolver: serveDNS(t, [4]byte{127, 0, 0, 1})})
	wantKind(t, send(t, client, "http://alias.test:"+port), delivery.KindSucceeded)
}
