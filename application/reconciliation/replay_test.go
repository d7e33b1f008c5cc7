package reconciliation_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/reconciliation"
)

func TestAReplayIsToldFromADisposition(t *testing.T) {
	thursday := time.Date(2026, 7, 2, 0, 0, 0, 0, time.UTC)
	for _, accepted := range []time.Time{thursday, thursday.Add(time.Nanosecond), thursday.Add(time.Microsecond), thursday.Add(reconciliation.Week - time.Microsecond), thursday.Add(time.Hour)} {
		if got := reconciliation.OfReplay(accepted); !got.Equal(thursday) || !reconciliation.IsOfReplay(got) {
			t.Errorf("a replay of %s is of %s", accepted, got)
		}
		got := reconciliation.OfDisposition(accepted)
		if reconciliation.IsOfReplay(got) || got.Sub(accepted) > time.Microsecond || got.Before(accepted) || !reconciliation.HourOf(got).Equal(reconciliation.HourOf(accepted)) {
			t.Errorf("a disposition of %s is of %s", accepted, got)
		}
	}
}
