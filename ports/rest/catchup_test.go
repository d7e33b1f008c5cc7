package rest_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/queries"
)

// A cursor behind thousands of events that were set aside says by which event the log is known.
func TestACatchUpCursorOutlivesARetry(t *testing.T) {
	h := newHarness(t)
	path := "/v1/subscriptions/" + h.subscribe() + "/events?limit=1"
	for i := range 9000 {
		e := queries.Event{ID: fmt.Sprintf("evt_%d", i), Tenant: own, Sequence: int64(i+1) * 10, AcceptedAt: h.now.Add(time.Duration(i) * time.Microsecond)}
		if i > 0 {
			e.SetAside = &fanout.Poisoned{}
		}
		h.store.accepted = append(h.store.accepted, e)
	}
	after := ""
	for range 4 {
		after = "&after=" + h.call(h.platform, "GET", path+after, "", "X-Ordinavo-Tenant", own).expect(http.StatusOK).text("nextCursor")
	}
	h.store.accepted = slices.Delete(h.store.accepted, 1, len(h.store.accepted))
	h.call(h.platform, "GET", path+after, "", "X-Ordinavo-Tenant", own).expect(http.StatusOK)
	h.store.accepted[0].AcceptedAt = h.now.Add(time.Second)
	h.call(h.platform, "GET", path+after, "", "X-Ordinavo-Tenant", own).expect(http.StatusBadRequest).refused("validation_failed", "after")
	h.call(h.platform, "GET", path+after+"x", "", "X-Ordinavo-Tenant", own).expect(http.StatusBadRequest).refused("validation_failed", "after")
}
