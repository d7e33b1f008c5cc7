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

// Each kind comes to its outcome by its timeout, and nothing goes on behind it.
func TestEachKindOfHostileReceiver(t *testing.T) {
	receivers, roots := startHostile(t)
	client, _ := newClient(t, Config{RootCAs: roots})
	goroutines := runtime.NumGoroutine()
	var sends sync.WaitGroup
	for i, kind := range hostile.Kinds() {
		sends.Go(func() {
			request := post(receivers.URL(i, i))
			request.Timeout = long
			if hostile.Outcomes[kind.Name] == delivery.KindTimeout {
				request.Timeout = time.Second
			}
			if got := client.Send(t.Context(), request); got.Kind != hostile.Outcomes[kind.Name] || len(got.ResponseBody) > maxBodyKept || len(got.Error) > 100 {
				t.Errorf("%s: got %s (%s), status %d, want %q", kind.Name, got.Kind, got.Error, got.Status, hostile.Outcomes[kind.Name])
			}
		})
	}
	sends.Wait()
	client.Close()
	waitUntil(t, func() bool { return runtime.NumGoroutine() <= goroutines })
}
