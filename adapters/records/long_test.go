package records_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/compact"
	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/payload"
)

// TestALongReportIsReadAsFarAsItIsShown: fan-out reads some hundred events at once, each of which took the memory of its report.
func TestALongReportIsReadAsFarAsItIsShown(t *testing.T) {
	e := event.Event{ID: "evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C", Type: event.VisitReportApproved, TenantID: "tenant-123", OccurredAt: time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC),
		VisitReport: &event.VisitReport{ID: 901, Title: new("Maintenance"), Summary: new(strings.Repeat("😀 ", event.MaxSummaryLength/2))},
		Target:      &event.Target{ID: 455, Title: new("Visit")}}
	plain, err := event.Encode(e)
	if err != nil {
		t.Fatal(err)
	}
	stored := compact.Pack(compact.Event, plain, string(e.TenantID), e.ID)
	read := make([]event.Event, 200)
	before := held()
	for i := range read {
		if read[i], err = records.DecodeEvent(stored, e.TenantID, e.ID); err != nil {
			t.Fatal(err)
		}
	}
	if each := (held() - before) / int64(len(read)); each > 16<<10 {
		t.Errorf("each event takes %d bytes", each)
	}
	view := payload.View{Options: payload.Options{CustomerContext: true, SummaryPreview: true}}
	want, _ := payload.Render(e, view, payload.Context{})
	for _, got := range read[:1] {
		if body, _ := payload.Render(got, view, payload.Context{}); !bytes.Equal(body, want) {
			t.Errorf("its body is\n%s\nwant\n%s", body, want)
		}
	}
	runtime.KeepAlive(read)
}

// held is how many bytes are alive.
func held() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
