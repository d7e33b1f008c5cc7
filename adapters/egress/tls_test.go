package egress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

func rootsOf(server *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	return roots
}

// certificate makes one that signs itself, for this machine unless the change says otherwise.
func certificate(t *testing.T, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	return signed(t, tls.Certificate{}, change)
}

// signed makes one that the other signs; one that signs itself if there is none.
func signed(t *testing.T, by tls.Certificate, change func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "receiver"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	change(template)
	if by.Leaf == nil {
		by.Leaf, by.PrivateKey = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.Leaf, key.Public(), by.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

func serveTLS(t *testing.T, config *tls.Config, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.TLS = config
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func TestCertificates(t *testing.T) {
	names := make([]string, 2000)
	for i := range names {
		names[i] = fmt.Sprintf("host-%d.example.com", i)
	}
	for _, test := range []struct {
		name   string
		change func(*x509.Certificate)
		trust  bool
		want   delivery.Kind
		text   string
	}{
		{"good", func(*x509.Certificate) {}, true, delivery.KindSucceeded, ""},
		{"self-signed", func(*x509.Certificate) {}, false, delivery.KindTLS, "trusted"},
		{"expired", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }, true, delivery.KindTLS, "expired"},
		{"not yet valid", func(c *x509.Certificate) { c.NotBefore = time.Now().Add(time.Minute) }, true, delivery.KindTLS, "not valid yet"},
		{"wrong host", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"example.com"} }, true, delivery.KindTLS, "another host"},
		{"this host among thousands of names", func(c *x509.Certificate) { c.DNSNames = names }, true, delivery.KindSucceeded, ""},
		{"thousands of names", func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, names }, true, delivery.KindTLS, "another host"},
	} {
		t.Run(test.name, func(t *testing.T) {
			cert := certificate(t, test.change)
			server := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(http.ResponseWriter, *http.Request) {})
			roots := x509.NewCertPool()
			if test.trust {
				roots.AddCert(cert.Leaf)
			}
			client, _ := newClient(t, Config{RootCAs: roots})
			got := send(t, client, server.URL)
			wantKind(t, got, test.want)
			if !strings.Contains(got.Error, test.text) || len(got.Error) > 100 {
				t.Errorf("error %q", got.Error)
			}
		})
	}
}

// A certificate that comes without the one that signed it is the commonest fault of all, and a browser shows nothing of it.
func TestMissingIntermediateCertificates(t *testing.T) {
	root := certificate(t, func(c *x509.Certificate) { c.Subject.CommonName = "root" })
	middle := signed(t, root, func(c *x509.Certificate) { c.Subject.CommonName = "middle" })
	leaf := signed(t, middle, func(c *x509.Certificate) { c.IsCA = false })
	roots := x509.NewCertPool()
	roots.AddCert(root.Leaf)
	const untrusted = "the receiver's certificate is not signed by a trusted authority"
	for text, test := range map[string]struct {
		chain [][]byte
		roots *x509.CertPool
		want  delivery.Kind
	}{
		"": {[][]byte{leaf.Certificate[0], middle.Certificate[0]}, roots, delivery.KindSucceeded},
		untrusted + ", or its intermediate certificates are missing": {leaf.Certificate, roots, delivery.KindTLS},
		untrusted: {[][]byte{leaf.Certificate[0], middle.Certificate[0]}, x509.NewCertPool(), delivery.KindTLS},
	} {
		server := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: test.chain, PrivateKey: leaf.PrivateKey}}}, func(http.ResponseWriter, *http.Request) {})
		client, _ := newClient(t, Config{RootCAs: test.roots})
		got := send(t, client, server.URL)
		wantKind(t, got, test.want)
		if got.Error != text {
			t.Errorf("got %q, want %q", got.Error, text)
		}
	}
}

// A connection whose handshake failed is closed at once, or each attempt would leave one behind.
func TestAFailedHandshakeLeavesNoConnection(t *testing.T) {
	cert := certificate(t, func(*x509.Certificate) {})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	left := make(chan error, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			left <- err
			return
		}
		defer func() { _ = conn.Close() }()
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{cert}}).Handshake() // the client trusts nobody
		_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
		_, err = io.Copy(io.Discard, conn)
		left <- err
	}()
	client, _ := newClient(t, Config{RootCAs: x509.NewCertPool()})
	wantKind(t, send(t, client, "https://"+listener.Addr().String()), delivery.KindTLS)
	if err := <-left; err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the connection stays open: %v", err)
	}
}

func TestTLSFailures(t *testing.T) {
	cert := certificate(t, func(*x509.Certificate) {})
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	reached := func(http.ResponseWriter, *http.Request) { t.Error("the receiver was reached") }
	old := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, reached)
	plain := serve(t, reached)
	for name, url := range map[string]string{
		"TLS 1.1": old.URL, "plain HTTP": strings.Replace(plain.URL, "http:", "https:", 1),
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := newClient(t, Config{RootCAs: roots})
			wantKind(t, send(t, client, url), delivery.KindTLS)
		})
	}
}

func TestHandshakeThatBreaksOff(t *testing.T) {
	for name, test := range map[string]struct {
		serve   func(net.Conn)
		timeout time.Duration
		want    delivery.Kind
	}{
		"closed": {func(net.Conn) {}, long, delivery.KindConnectionLost},
		"silent": {hold, short, delivery.KindTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				conn, err := listener.Accept()
				if err != nil {
					return
				}
				defer conn.Close()
				_, _ = io.ReadFull(conn, make([]byte, 200)) // most of the ClientHello
				test.serve(conn)
			}()
			client, _ := newClient(t, Config{})
			request := post("https://" + listener.Addr().String())
			request.Timeout = test.timeout
			wantKind(t, client.Send(t.Context(), request), test.want)
			client.Close()
			listener.Close()
			<-served
		})
	}
}

func TestHTTP2(t *testing.T) {
	cert := certificate(t, func(*x509.Certificate) {})
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	server := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{cert}}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Proto", r.Proto)
		switch r.URL.Path {
		case "/bomb": // compressed to a few bytes each
			w.Header()["X-Same"] = slices.Repeat([]string{strings.Repeat("x", 1000)}, 100)
		case "/interim":
			for range maxInterim + 1 {
				w.WriteHeader(http.StatusEarlyHints)
			}
		case "/abort":
			w.WriteHeader(http.StatusOK)
			_, _ = io.WriteString(w, "half")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		case "/endless":
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 4096))
			}
		}
	})
	client, dials := newClient(t, Config{RootCAs: roots})
	for path, want := range map[string]delivery.Kind{
		"/": delivery.KindSucceeded, "/bomb": delivery.KindResponseTooLarge, "/interim": delivery.KindResponseTooLarge,
		"/abort": delivery.KindConnectionLost, "/endless": delivery.KindSucceeded,
	} {
		t.Run(path, func(t *testing.T) {
			got := send(t, client, server.URL+path)
			wantKind(t, got, want)
			if want == delivery.KindSucceeded && got.ResponseHeaders["X-Proto"] != "HTTP/2.0" {
				t.Errorf("got %v", got.ResponseHeaders)
			}
		})
	}
	if n := len(dials.dialled()); n != 1 {
		t.Errorf("dialled %d times", n)
	}
}
