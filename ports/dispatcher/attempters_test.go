package dispatcher

import (
	"testing"
	"testing/synctest"

	"github.com/ordinavo/webhooks/application/dispatch"
)

func TestAttemptersAreUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		goOn := make(chan struct{})
		attempted := make(chan string, 10*keptIdle)
		a := newAttempters(func(l dispatch.Leased) {
			<-goOn
			attempted <- l.Lease
		})
		started, ended := 0, 0
		start := func(n int) {
			for range n {
				a.start(dispatch.Leased{Lease: "inc_1"})
				started++
			}
			synctest.Wait()
		}
		letEnd := func(n int) {
			for range n {
				goOn <- struct{}{}
				ended++
			}
			synctest.Wait()
		}
		start(3 * keptIdle)
		if letEnd(2); len(a.idle) != 2 {
			t.Errorf("%d wait for their next attempt, of two that have ended one", len(a.idle))
		}
		if start(1); len(a.idle) != 1 {
			t.Errorf("%d wait after one was used again", len(a.idle))
		}
		if start(3); len(a.idle) != 0 {
			t.Errorf("%d wait although all are needed", len(a.idle))
		}
		if letEnd(started - ended); len(a.idle) != keptIdle {
			t.Errorf("%d are kept, want %d", len(a.idle), keptIdle)
		}
		if start(2 * keptIdle); len(a.idle) != 0 {
			t.Errorf("%d wait although all are needed", len(a.idle))
		}
		letEnd(started - ended)
		a.end() // the bubble fails when one is left
		close(attempted)
		n := 0
		for lease := range attempted {
			if n++; lease != "inc_1" {
				t.Errorf("attempted %q", lease)
			}
		}
		if n != started {
			t.Errorf("%d attempts of %d that were started", n, started)
		}
	})
}
