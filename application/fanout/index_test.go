package fanout

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// topic is a Store that knows the subscriptions topic alone.
type topic struct {
	Store
	changes []SubscriptionChange
	lost    []dispatch.Lane
	reads   int
	loaded  []string // tenants and the position that they were read at
}

// SubscriptionsAt gives for a lost subscription, and one that cannot be read, what the last change that can be read left.
func (s *topic) SubscriptionsAt(_ context.Context, owners []tenant.ID, position int64) (list []subscription.Subscription, _ []dispatch.Lane, err error) {
	s.loaded = append(s.loaded, fmt.Sprint(owners, " at ", position))
	at := map[string]subscription.Subscription{}
	for _, c := range s.changes {
		if c.Position >= position || c.Unreadable != nil || !slices.Contains(owners, c.Tenant) {
			continue
		}
		sub := at[c.SubscriptionID]
		if err := sub.Apply(c.Change); err != nil {
			return nil, nil, err
		}
		at[c.SubscriptionID] = sub
	}
	for _, lane := range s.lost {
		delete(at, lane.SubscriptionID)
	}
	return slices.Collect(maps.Values(at)), s.lost, nil
}

// quiet is an Observer that counts what is told of subscriptions.
type quiet struct {
	Observer
	unreadable, lost *int
}

func (q quiet) SubscriptionUnreadable(context.Context, SubscriptionChange) { *q.unreadable++ }
func (q quiet) SubscriptionLost(context.Context, dispatch.Lane)            { *q.lost++ }

// of is a record of an event of the tenant.
func of(owner tenant.ID, position int64) []Record {
	return []Record{{Position: position, Keys: []intake.EventKey{{Tenant: owner, ID: "evt_1"}}}}
}

func created(owner tenant.ID, id string, position int64, types ...string) SubscriptionChange {
	return SubscriptionChange{Position: position, Tenant: owner, SubscriptionID: id, Version: 1,
		Change: subscription.Created{At: time.Unix(0, 0), ID: id, Tenant: owner, Settings: subscription.Settings{EventTypes: types}}}
}

func (s *topic) Governing(_ context.Context, after, upTo int64, limit int, _ []tenant.ID) (list []SubscriptionChange, _ map[tenant.ID]bool, err error) {
	s.reads++
	for _, c := range s.changes {
		if c.Position > after && c.Position <= upTo && len(list) < limit {
			list = append(list, c)
		}
	}
	return list, nil, nil
}

// Whoever does not want a type is asked once, and not again for each event.
func TestAnEventsCostDoesNotGrowWithThoseWhoDoNotWantIt(t *testing.T) {
	s := &topic{}
	const all, wanting = 10_000, 10
	for i := range int64(all) {
		filter := "target.imported"
		if i%(all/wanting) == 0 {
			filter = "visit_report.*"
		}
		s.changes = append(s.changes, created("acme", fmt.Sprintf("sub_%05d", i), i+1, filter))
	}
	ix := newIndex(nil, time.Now)
	if _, _, err := ix.advance(t.Context(), s, of("acme", all+1)); err != nil {
		t.Fatal(err)
	}
	first := ix.rosters["acme"].matching(event.VisitReportApproved)
	if len(first) != wanting {
		t.Fatalf("%d match", len(first))
	}
	for i := range 1000 { // more events, and nothing new of the subscriptions
		if _, _, err := ix.advance(t.Context(), s, of("acme", all+2+int64(i))); err != nil {
			t.Fatal(err)
		}
		if again := ix.rosters["acme"].matching(event.VisitReportApproved); &again[0] != &first[0] {
			t.Fatal("the list was made anew")
		}
	}
	if len(s.loaded) != 1 {
		t.Errorf("subscriptions were read %d times", len(s.loaded))
	}
	if allocated := testing.AllocsPerRun(100, func() { ix.rosters["acme"].matching(event.VisitReportApproved) }); allocated != 0 {
		t.Errorf("%v allocations for an event", allocated)
	}
}

// What has changed before a tenant's first event, or far behind the last one, is not read: the subscriptions are.
func TestATenantsSubscriptionsAreReadWithItsFirstEvent(t *testing.T) {
	s := &topic{changes: []SubscriptionChange{created("acme", "sub_1", 1, "*"), created("other", "sub_2", 2, "*"), created("other", "sub_3", 4, "*")}}
	ix := newIndex(nil, time.Now)
	for _, c := range []struct {
		owner    tenant.ID
		position int64
		want     int
	}{{"acme", 3, 1}, {"other", 5, 2}, {"acme", 6, 1}, {"nobody", 7, 0}, {"nobody", 8, 0}} {
		if _, _, err := ix.advance(t.Context(), s, of(c.owner, c.position)); err != nil {
			t.Fatal(err)
		}
		if got := ix.rosters[c.owner].governing(); got != c.want {
			t.Errorf("%s has %d at %d, want %d", c.owner, got, c.position, c.want)
		}
	}
	if want := []string{"[acme] at 3", "[other] at 5", "[nobody] at 7"}; !slices.Equal(s.loaded, want) {
		t.Errorf("read %v, want %v", s.loaded, want)
	}
	for i := range int64(changesPerRead) {
		s.changes = append(s.changes, created("nobody", fmt.Sprintf("sub_9%04d", i), 9+i, "*"))
	}
	s.loaded, s.reads = nil, 0
	if _, _, err := ix.advance(t.Context(), s, of("acme", changesPerRead+9)); err != nil {
		t.Fatal(err)
	}
	if want := []string{fmt.Sprintf("[acme] at %d", changesPerRead+9)}; !slices.Equal(s.loaded, want) || s.reads != 2 || len(ix.rosters) != 1 {
		t.Errorf("far ahead it read %v after %d reads of the log, and holds %d tenants", s.loaded, s.reads, len(ix.rosters))
	}
}

// TestTenantsWhoseEventsDoNotComeAreForgotten has more subscriptions than are held.
func TestTenantsWhoseEventsDoNotComeAreForgotten(t *testing.T) {
	s := &topic{}
	for _, owner := range []tenant.ID{"acme", "other"} {
		for i := range int64(maxSubscriptions / 2) {
			s.changes = append(s.changes, created(owner, fmt.Sprintf("sub_%s%05d", owner, i), int64(len(s.changes))+1, "*"))
		}
	}
	ix := newIndex(nil, time.Now)
	for i, owner := range []tenant.ID{"acme", "other", "acme"} {
		if _, _, err := ix.advance(t.Context(), s, of(owner, int64(len(s.changes)+1+i))); err != nil {
			t.Fatal(err)
		}
		if got := ix.rosters[owner].governing(); got != maxSubscriptions/2 || len(ix.rosters) != 1 {
			t.Errorf("%s has %d, and %d tenants are held", owner, got, len(ix.rosters))
		}
	}
}

// A subscription that cannot be read any more gets nothing, also of a type that was matched before, and it is told of once.
func TestWhatCannotBeReadIsNoLongerMatched(t *testing.T) {
	s := &topic{changes: []SubscriptionChange{created("acme", "sub_1", 1, "*"), created("acme", "sub_2", 2, "*")}}
	var unreadable, lost int
	ix := newIndex(quiet{unreadable: &unreadable, lost: &lost}, time.Now)
	if _, _, err := ix.advance(t.Context(), s, of("acme", 3)); err != nil || ix.rosters["acme"].cost(event.VisitReportApproved) != 2 {
		t.Fatalf("%v, and it is for %d", err, ix.rosters["acme"].cost(event.VisitReportApproved))
	}
	lane := dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}
	s.changes = append(s.changes, SubscriptionChange{Position: 4, Tenant: "acme", SubscriptionID: "sub_1", Version: 2, Unreadable: errors.New("damaged")},
		SubscriptionChange{Position: 6, Tenant: "acme", SubscriptionID: "sub_1", Version: 3, Change: subscription.Paused{At: time.Unix(0, 0)}})
	s.lost = []dispatch.Lane{lane}
	refused := 0
	for _, position := range []int64{5, 7} {
		for refused <= Refusals {
			if _, _, err := ix.advance(t.Context(), s, of("acme", position)); err == nil {
				break
			}
			refused++
		}
		if got := ix.rosters["acme"].cost(event.VisitReportApproved); got != 1 {
			t.Errorf("at %d it is for %d", position, got)
		}
	}
	if refused != Refusals || unreadable != 1 || lost != 1 {
		t.Errorf("refused %d times, told of %d changes and %d lost subscriptions", refused, unreadable, lost)
	}
}
