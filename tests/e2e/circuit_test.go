package e2e_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

type circuitView struct {
	Circuit struct {
		State              string
		Since, NextProbeAt *time.Time
		Window             int
	}
}

func (n tenant) circuit(subscriptionID string) circuitView {
	n.t.Helper()
	return into[circuitView](n.get("/v1/subscriptions/" + subscriptionID).want(http.StatusOK))
}

// A receiver that asks for less is seen to be spared, in the subscription and in the list, and to get all again once it is well.
func TestTheCircuitIsSeen(t *testing.T) {
	t.Parallel()
	acme := newTenant(t, sharedService(t))
	hook := receive(t, answers(http.StatusTooManyRequests))
	sub := acme.subscribe(hook, "*", object{"retrySchedule": []string{"1h"}})
	if c := acme.circuit(sub.ID).Circuit; c.State != "closed" || c.Since != nil || c.NextProbeAt != nil || c.Window != 16 {
		t.Errorf("at first: %+v", c)
	}
	first := acme.emit(acme.visit("visit_report.approved", nil))
	acme.settled(first, sub.ID, "retrying")
	eventually(t, "the receiver is spared", func() bool { return acme.circuit(sub.ID).Circuit.Window == 8 })
	if c := acme.circuit(sub.ID).Circuit; c.State != "closed" || c.Since == nil || c.NextProbeAt != nil {
		t.Errorf("after it asked for less: %+v", c)
	}
	if list := string(acme.get("/v1/subscriptions").want(http.StatusOK).body); !strings.Contains(list, `"window":8`) {
		t.Errorf("the list: %s", list)
	}
	hook.behaves(answers(http.StatusOK))
	for range 8 {
		acme.emit(acme.visit("visit_report.approved", nil))
	}
	eventually(t, "the receiver gets all again", func() bool { return acme.circuit(sub.ID).Circuit.Window == 16 })
	if c := acme.circuit(sub.ID).Circuit; c.Since != nil {
		t.Errorf("at the end: %+v", c)
	}
}
