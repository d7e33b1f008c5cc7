package rest_test

import (
	"strings"
	"testing"
)

// Whoever changes what is paused goes on to have it paused until it is asked for otherwise.
func TestAChangeLeavesWhatIsPaused(t *testing.T) {
	h := newHarness(t)
	one := "/v1/subscriptions/" + h.subscribe()
	h.call(h.admin, "POST", one+"/pause", "").expect(200)
	if got := h.call(h.admin, "PATCH", one, `{"name":"renamed"}`).expect(200); got.text("status") != "paused" || got.text("name") != "renamed" {
		t.Errorf("changed to %s", got.body)
	}
	if got := h.call(h.admin, "PATCH", one, `{"status":"active"}`).expect(200); got.text("status") != "active" {
		t.Errorf("resumed to %s", got.body)
	}
}

// A receiver may know no other types than those it is subscribed to.
func TestASampleIsOfATypeThatIsWanted(t *testing.T) {
	h := newHarness(t)
	for _, wanted := range []string{"appointment.cancelled", "visit_report.rejected"} {
		one := "/v1/subscriptions/" + h.subscribeWith(`"visit_report.*"`, `"`+wanted+`"`)
		for _, body := range []string{"", "{}"} {
			if got := h.call(h.admin, "POST", one+"/test", body).expect(200); !strings.Contains(got.body, wanted) {
				t.Errorf("asked by %q: %s", body, got.body)
			}
		}
	}
}
