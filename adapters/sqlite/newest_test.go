package sqlite

import (
	"strings"
	"testing"
)

// Whoever walks the lane to find an event's newest delivery does so for each event of a replay, which holds the writer meanwhile.
func TestAnEventsNewestDeliveryIsSearchedByTheEvent(t *testing.T) {
	found := 0
	for _, line := range explain(t, filled(t, 1000), newestDeliveries) {
		if !strings.HasPrefix(line, "SEARCH") {
			continue
		}
		if found++; !strings.Contains(line, "event_id=?") {
			t.Errorf("it is a %s", line)
		}
	}
	if found != 2 {
		t.Errorf("%d tables were searched", found)
	}
}
