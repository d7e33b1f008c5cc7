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
	kinds := hostile.Kinds()
	meet := func(i int) delivery.Outcome {
		request := post(receivers.URL(i, i))
		request.Timeout = 5 * time.Second
		if hostile.Outcomes[kinds[i].Name] == delivery.KindTimeout {
			request.Timeout = time.Second
		}
		return client.Send(t.Context(), request)
	}
	got := make([]delivery.Outcome, len(kinds))
	var sends sync.WaitGroup
	for i := range kinds {
		sends.Go(func() { got[i] = meet(i) })
	}
	sends.Wait()
	for i, kind := range kinds {
		want := hostile.Outcomes[kind.Name]
		if got[i].Kind == delivery.KindTimeout && want != delivery.KindTimeout { // the machine may have had too much to do with the others
			got[i] = meet(i)
		}
		if o := got[i]; o.Kind != want || len(o.ResponseBody) > maxBodyKept || len(o.Error) > 100 {
			t.Errorf("%s: got %s (%s), status %d, want %q", kind.Name, o.Kind, o.Error, o.Status, want)
		}
	}
	client.Close()
	waitUntil(t, func() bool { return runtime.NumGoroutine() <= goroutines })
}
