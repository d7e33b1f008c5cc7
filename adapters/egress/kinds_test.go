package egress

import (
	"crypto/x509"
	"io"
	"log"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/tests/hostile"
)

func TestMain(m *testing.M) {
	hostile.ServeIfAsked()
	log.SetOutput(io.Discard) // as main does: net/http logs there what receivers send
	os.Exit(m.Run())
}

func startHostile(t *testing.T) (hostile.Running, *x509.CertPool) {
	t.Helper()
	receivers, stop, err := hostile.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(receivers.Roots)
	return receivers, roots
}

// outcomes are what each kind of hostile receiver comes to.
var outcomes = map[string]delivery.Kind{
	"black hole":                                   delivery.KindTimeout,
	"never reads":                                  delivery.KindTimeout,
	"reset":                                        delivery.KindConnectionLost,
	"reset in the body":                            delivery.KindConnectionLost,
	"half a body":                                  delivery.KindTimeout,
	"a header a byte a second":                     delivery.KindTimeout,
	"a body a byte a second":                       delivery.KindTimeout,
	"endless body":                                 delivery.KindSucceeded,
	"endless interim answers":                      delivery.KindResponseTooLarge,
	"interim answers and then nothing":             delivery.KindTimeout,
	"10 MB of headers":                             delivery.KindResponseTooLarge,
	"a header of 10 MB":                            delivery.KindResponseTooLarge,
	"thousands of headers and then nothing":        delivery.KindResponseTooLarge,
	"thousands of headers and half a body":         delivery.KindResponseTooLarge,
	"a large header and half a body":               delivery.KindResponseTooLarge,
	"gzip bomb":                                    delivery.KindSucceeded,
	"redirect":                                     delivery.KindRedirect,
	"Retry-After of years":                         delivery.KindHTTPStatus,
	"101":                                          delivery.KindHTTPStatus,
	"trailers without end":                         delivery.KindConnectionLost,
	"a chunk extension without end":                delivery.KindConnectionLost,
	"chunks of a byte with extensions":             delivery.KindConnectionLost,
	"more than its length":                         delivery.KindSucceeded,
	"a second answer":                              delivery.KindSucceeded,
	"closes each connection":                       delivery.KindSucceeded,
	"answers before it has read":                   delivery.KindHTTPStatus,
	"TLS, no handshake":                            delivery.KindTimeout,
	"TLS, black hole":                              delivery.KindTimeout,
	"TLS, half a body":                             delivery.KindTimeout,
	"TLS, endless body":                            delivery.KindSucceeded,
	"TLS, thousands of headers and half a body":    delivery.KindResponseTooLarge,
	"TLS, a large certificate and then nothing":    delivery.KindTimeout,
	"HTTP/2, black hole":                           delivery.KindTimeout,
	"HTTP/2, frames of size zero":                  delivery.KindConnectionLost,
	"HTTP/2, no room for a body":                   delivery.KindTimeout,
	"HTTP/2, GOAWAY":                               delivery.KindConnectionLost,
	"HTTP/2, endless headers":                      delivery.KindConnectionLost,
	"HTTP/2, many headers and half a body":         delivery.KindTimeout,
	"HTTP/2, headers that never end":               delivery.KindConnectionLost,
	"HTTP/2, a body that fills the window":         delivery.KindTimeout,
	"HTTP/2, settings without end":                 delivery.KindResponseTooLarge,
	"HTTP/2, pings without end":                    delivery.KindResponseTooLarge,
	"HTTP/2, an answer and then pings without end": delivery.KindSucceeded,
	"HTTP/2, empty data without end":               delivery.KindResponseTooLarge,
	"HTTP/2, window updates of zero":               delivery.KindConnectionLost,
	"HTTP/2, resets every stream":                  delivery.KindConnectionLost,
	"HTTP/2, interim answers without end":          delivery.KindResponseTooLarge,
	"HTTP/2, frames of no known type":              delivery.KindResponseTooLarge,
}

// Each kind comes to its outcome by its timeout, and nothing goes on behind it.
func TestEachKindOfHostileReceiver(t *testing.T) {
	receivers, roots := startHostile(t)
	client, _ := newClient(t, Config{RootCAs: roots})
	goroutines := runtime.NumGoroutine()
	var sends sync.WaitGroup
	for i, kind := range hostile.Kinds() {
		sends.Go(func() {
			request := post(receivers.URL(i, i))
			request.Timeout = 5 * time.Second
			if outcomes[kind.Name] == delivery.KindTimeout {
				request.Timeout = time.Second
			}
			if got := client.Send(t.Context(), request); got.Kind != outcomes[kind.Name] || len(got.ResponseBody) > maxBodyKept || len(got.Error) > 100 {
				t.Errorf("%s: got %s (%s), status %d, want %q", kind.Name, got.Kind, got.Error, got.Status, outcomes[kind.Name])
			}
		})
	}
	sends.Wait()
	client.Close()
	waitUntil(t, func() bool { return runtime.NumGoroutine() <= goroutines })
}
