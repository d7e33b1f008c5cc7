package e2e_test

import (
	"encoding/base64"
	"net/http"
	"slices"
	"testing"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// onEachDatabase runs a test with a service of its own on SQLite and on PostgreSQL.
func onEachDatabase(t *testing.T, test func(t *testing.T, s *service), env ...string) {
	t.Run("SQLite", func(t *testing.T) { test(t, start(t, t.TempDir(), env...)) })
	t.Run("PostgreSQL", func(t *testing.T) {
		on := []string{"ORDINAVO_DATABASE_URL=" + pgtest.Empty(t), "ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
		test(t, start(t, t.TempDir(), append(on, env...)...))
	})
}

// A tenant has thousands of deliveries to come; an event of another tenant, accepted right behind them, is scheduled and
// arrives before the last quarter of theirs. All of theirs comes all the same, to who is pushed and to who pulls, in their order.
func TestATenantsManyEventsSlowNobody(t *testing.T) {
	events, subscriptions := 200, 50
	if raced {
		events, subscriptions = 80, 30
	}
	onEachDatabase(t, func(t *testing.T, s *service) {
		crowd, small, hook := newTenant(t, s), newTenant(t, s), receive(t, nil)
		var subs []subscription
		for range subscriptions {
			subs = append(subs, crowd.subscribe(hook, "*", object{"maxInFlight": 64}))
		}
		mine := small.subscribe(hook, "*", nil)
		var batch []object
		for range events {
			batch = append(batch, crowd.visit("visit_report.approved", nil))
		}
		batch = append(batch, small.visit("visit_report.approved", nil))
		var ids []string
		for _, r := range into[results](s.platform(t).post("/v1/events", object{"events": batch}).want(http.StatusAccepted)).Results {
			ids = append(ids, r.EventID)
		}
		theirs, own := ids[:events], ids[events]

		if pulled := crowd.pull(subs[7], events); !slices.Equal(pulled, theirs) {
			t.Errorf("by pull came %d events, in the order %v, want %v", len(pulled), pulled, theirs)
		}
		arrivals := hook.wait(events*subscriptions + 1)
		if at := slices.IndexFunc(arrivals, func(a arrival) bool { return a.eventID() == own }); at >= len(arrivals)*3/4 {
			t.Errorf("the other tenant's event came after %d of %d", at, len(arrivals))
		}
		overtaken := small.settled(own, mine.ID, "succeeded").ID
		for _, sub := range subs { // IDs are in the order in which deliveries were made
			if late := crowd.settled(theirs[events*3/4], sub.ID, "succeeded").ID; late < overtaken {
				t.Fatalf("the crowd's delivery %s was made before the other tenant's %s", late, overtaken)
			}
		}
		came := map[string]int{}
		for _, a := range arrivals {
			came[a.deliveryID()]++
		}
		if len(came) != events*subscriptions+1 {
			t.Errorf("%d deliveries arrived", len(came))
		}
		eventually(t, "all is settled", func() bool { return len(crowd.reconciled().Unsettled) == 0 })
		if got := crowd.reconciled(); !got.Balanced || got.Accepted != events || got.Dispositions.Deliveries["succeeded"] != events*subscriptions {
			t.Errorf("reconciled to %+v", got)
		}
	})
}

// pull reads on until as many events came, and returns their IDs.
func (n tenant) pull(sub subscription, want int) (ids []string) {
	n.t.Helper()
	query := "?limit=20"
	eventually(n.t, "all events come by pull", func() bool {
		page := n.catchUp(sub, query)
		for _, item := range page.Data {
			ids = append(ids, item.EventID)
		}
		query = "?limit=20&after=" + page.NextCursor
		return len(ids) >= want
	})
	return ids
}
