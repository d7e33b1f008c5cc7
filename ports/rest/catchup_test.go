package rest_test

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/queries"
)

// A cursor behind thousands of events that were set aside says by which event the log is known.
func TestACatchUpCursorOutlivesARetry(t *testing.T) {
	h := newHarness(t)
	path := "/v1/subscriptions/" + h.subscribe() + "/events?limit=1"
	for i := range 9000 {
		e := queries.Event{ID: fmt.Sprintf("evt_%d", i), Tenant: own, Sequence: int64(i+1) * 10, AcceptedAt: h.now.Add(time.Duration(i) * time.Microsecond)}
		if i > 0 {
			e.SetAside = &fanout.SetAside{}
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

// A cursor of another subscription's list stands behind events that this one's receiver has never seen.
func TestACatchUpCursorIsOfOneList(t *testing.T) {
	h := newHarness(t)
	mine, others := "/v1/subscriptions/"+h.subscribe()+"/events", "/v1/subscriptions/"+h.subscribe()+"/events"
	for i := range 3 {
		h.store.accepted = append(h.store.accepted, queries.Event{ID: fmt.Sprintf("evt_%d", i), Tenant: own, Sequence: int64(i + 1), AcceptedAt: h.now})
	}
	cursor := h.call(h.admin, "GET", mine, "").expect(http.StatusOK).text("nextCursor")
	h.call(h.admin, "GET", mine+"?after="+cursor, "").expect(http.StatusOK)
	h.call(h.admin, "GET", others+"?after="+cursor, "").expect(http.StatusBadRequest).refused("validation_failed", "after")
	at := h.now.UnixMilli()
	for _, before := range []string{fmt.Sprintf("2.3.%d.%d", h.now.UnixMicro(), at), fmt.Sprintf("3.3.%d.%d.1", h.now.UnixMicro(), at)} {
		h.call(h.admin, "GET", mine+"?after="+base64.RawURLEncoding.EncodeToString([]byte(before)), "").expect(http.StatusOK)
	}
	longest := fmt.Sprintf("4.%d.%d.%d.%d.%016x", math.MaxInt64, h.now.UnixMicro(), at, math.MaxInt64, 0)
	got := h.call(h.admin, "GET", mine+"?after="+base64.RawURLEncoding.EncodeToString([]byte(longest)), "").expect(http.StatusBadRequest)
	if !strings.Contains(got.body, "is not a cursor of this list") {
		t.Error(got.body)
	}
}

func TestWaitingToCatchUpIsBounded(t *testing.T) {
	h := newHarness(t)
	path := "/v1/subscriptions/" + h.subscribe() + "/events?wait="
	for _, wrong := range []string{"31s", "-1s", "soon"} {
		h.call(h.admin, "GET", path+wrong, "").expect(http.StatusBadRequest).refused("validation_failed", "wait")
	}
	for range 2 { // as often as a key may listen
		listener, err := h.live.Listen(t.Context(), own, h.store.keys[access.HashOf(h.admin)].ID, live.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Leave()
	}
	h.call(h.admin, "GET", path+"1s", "").expect(http.StatusTooManyRequests).refused("rate_limited")
}
