package telemetry_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/telemetry"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
)

// TestADatabaseThatIsAwayIsToldSeldom: hundreds of deliveries may wait for their secrets. What is damaged is told each time.
func TestADatabaseThatIsAwayIsToldSeldom(t *testing.T) {
	var log bytes.Buffer
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	tell := telemetry.AttemptTrouble(slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	away, damaged := problem.New(problem.Unavailable, "away"), errors.New("damaged")
	for _, err := range []error{away, away, damaged, damaged, away} {
		tell(t.Context(), dispatch.Leased{}, err)
	}
	now = now.Add(10 * time.Second)
	tell(t.Context(), dispatch.Leased{}, away)
	now = now.Add(-time.Hour) // the clock was set back
	tell(t.Context(), dispatch.Leased{}, away)
	if a, d := strings.Count(log.String(), "away"), strings.Count(log.String(), "damaged"); a != 3 || d != 2 {
		t.Errorf("away is told %d times, damaged %d:\n%s", a, d, &log)
	}
}

// TestAProcessWithoutFilesSaysWhatToDo, and that for all its deliveries at once.
func TestAProcessWithoutFilesSaysWhatToDo(t *testing.T) {
	var log bytes.Buffer
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	tell := telemetry.AttemptTrouble(slog.New(slog.NewTextHandler(&log, nil)), func() time.Time { return now })
	for range 100 {
		tell(t.Context(), dispatch.Leased{}, dispatch.Exhausted{By: errors.New("socket: too many open files")})
	}
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "ulimit -n") || !strings.Contains(text, "too many open files") {
		t.Errorf("it says %s", text)
	}
}

// TestAPanicIsToldWithItsStack, and as no request that could not be signed.
func TestAPanicIsToldWithItsStack(t *testing.T) {
	var log bytes.Buffer
	tell := telemetry.AttemptTrouble(slog.New(slog.NewTextHandler(&log, nil)), time.Now)
	tell(t.Context(), dispatch.Leased{Delivery: delivery.Delivery{ID: "dlv_1", Tenant: "acme"}}, &dispatch.Panic{Value: "index out of range", Stack: []byte("goroutine 7")})
	for _, want := range []string{"level=ERROR", `"an attempt panicked"`, "tenantId=acme", "deliveryId=dlv_1", "index out of range", `stack="goroutine 7"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s is not in %s", want, &log)
		}
	}
}
