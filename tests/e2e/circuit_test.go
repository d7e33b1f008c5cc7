package e2e_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/tests/pgtest"
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

// TestAnotherProcessGivesAReceiverAnotherChance has one process change an endpoint while another spares what was there, and then take the
// subscription out of service: what was known of a receiver is about the one that gets something.
func TestAnotherProcessGivesAReceiverAnotherChance(t *testing.T) {
	t.Parallel()
	env := []string{"ORDINAVO_DATABASE_URL=" + pgtest.Empty(t), "ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
	start(t, t.TempDir(), append(env, "ORDINAVO_ROLES=router,dispatcher")...)
	acme := newTenant(t, start(t, t.TempDir(), append(env, "ORDINAVO_ROLES=api")...))
	sub := acme.subscribe(receive(t, answers(http.StatusTooManyRequests)), "*", object{"retrySchedule": []string{"1h"}})
	path := "/v1/subscriptions/" + sub.ID
	spare := func() {
		acme.settled(acme.emit(acme.visit("visit_report.approved", nil)), sub.ID, "retrying")
		eventually(t, "the receiver is spared", func() bool { return acme.circuit(sub.ID).Circuit.Window == 8 })
	}
	spare()
	acme.do(http.MethodPatch, path, object{"url": receive(t, answers(http.StatusTooManyRequests)).url}).want(http.StatusOK)
	eventually(t, "the next receiver gets all", func() bool { return acme.circuit(sub.ID).Circuit.Window == 16 })
	spare()
	acme.post(path+"/pause", nil).want(http.StatusOK)
	eventually(t, "nothing is known of it while it is paused", func() bool { return acme.circuit(sub.ID).Circuit.Window == 16 })
}
