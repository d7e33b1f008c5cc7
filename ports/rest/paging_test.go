package rest_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/queries"
)

// A cursor comes from outside like all the rest, and what it names goes into a look-up.
func TestACursorThatSomebodyElseMadeIsRefused(t *testing.T) {
	h := newHarness(t)
	for i := range 3 {
		h.store.accepted = append(h.store.accepted, queries.Event{ID: fmt.Sprintf("evt_%d", i), Tenant: own, Sequence: int64(i + 1), AcceptedAt: h.now})
	}
	for path, last := range map[string][]string{"/v1/tenants?limit=1": {""}, "/v1/events?limit=1": {"", "x", "0", "-1", "1.5", "9223372036854775808"}} {
		key := h.platform
		if strings.Contains(path, "events") {
			key = h.admin
		}
		given := h.call(key, "GET", path, "").expect(http.StatusOK).text("nextCursor")
		made, err := base64.RawURLEncoding.DecodeString(given)
		if err != nil {
			t.Fatal(err)
		}
		h.call(key, "GET", path+"&cursor="+given, "").expect(http.StatusOK)
		var parts struct {
			V int
			K string
			I string
			T int64
		}
		if err := json.Unmarshal(made, &parts); err != nil {
			t.Fatal(err)
		}
		with := func(v int, last string, issued time.Time, more string) string {
			return fmt.Sprintf(`{"v":%d,"k":%q,"i":"%s","t":%d%s}`, v, parts.K, last, issued.Unix(), more)
		}
		if string(made) != with(1, parts.I, h.now, "") {
			t.Fatalf("a cursor is %s", made)
		}
		bad := []string{with(0, parts.I, h.now, ""), with(2, parts.I, h.now, ""), with(1, parts.I, h.now.Add(-25*time.Hour), ""), with(1, parts.I, h.now.Add(25*time.Hour), ""),
			with(1, parts.I, h.now, `,"x":1`), with(1, strings.Repeat("1", 101), h.now, ""), with(1, `1\u0000`, h.now, ""), string(made) + "{}"}
		for _, l := range last {
			bad = append(bad, with(1, l, h.now, ""))
		}
		for _, b := range bad {
			h.call(key, "GET", path+"&cursor="+base64.RawURLEncoding.EncodeToString([]byte(b)), "").expect(http.StatusBadRequest).refused("validation_failed", "cursor")
		}
	}
}
