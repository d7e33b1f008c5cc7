package fanout

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// topic is a Store that knows the subscriptions topic alone.
type topic struct {
	Store
	changes []SubscriptionChange
	reads   int
}

func (s *topic) Governing(_ context.Context, after, upTo int64, limit int, _ []tenant.ID) (list []SubscriptionChange, _ map[tenant.ID]bool, err error) {
	s.reads++
	for _, c := range s.changes[min(after, int64(len(s.changes))):] { // positions are 1, 2, 3 …
		if c.Position <= upTo && len(list) < limit {
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
		filter := subscription.Filter{"target.imported"}
		if i%(all/wanting) == 0 {
			filter = subscription.Filter{"visit_report.*"}
		}
		id := fmt.Sprintf("sub_%05d", i)
		s.changes = append(s.changes, SubscriptionChange{Position: i + 1, Tenant: "acme", SubscriptionID: id,
			Change: subscription.Created{At: time.Unix(0, 0), ID: id, Tenant: "acme", Settings: subscription.Settings{EventTypes: filter}}})
	}
	ix := newIndex(nil)
	if _, _, err := ix.advance(t.Context(), s, []Record{{Position: all}}); err != nil {
		t.Fatal(err)
	}
	if s.reads > all/changesPerRead+1 {
		t.Errorf("%d reads of %d changes", s.reads, all)
	}
	first := ix.rosters["acme"].matching(event.VisitReportApproved)
	if len(first) != wanting {
		t.Fatalf("%d match", len(first))
	}
	for i := range 1000 { // more events, and nothing new of the subscriptions
		if _, _, err := ix.advance(t.Context(), s, []Record{{Position: all + 1 + int64(i)}}); err != nil {
			t.Fatal(err)
		}
		if again := ix.rosters["acme"].matching(event.VisitReportApproved); &again[0] != &first[0] {
			t.Fatal("the list was made anew")
		}
	}
	if allocated := testing.AllocsPerRun(100, func() { ix.rosters["acme"].matching(event.VisitReportApproved) }); allocated != 0 {
		t.Errorf("%v allocations for an event", allocated)
	}
}

// A subscription that cannot be read any more gets nothing, also of a type that was matched before.
func TestWhatCannotBeReadIsNoLongerMatched(t *testing.T) {
	s := &topic{}
	for i, id := range []string{"sub_1", "sub_2"} {
		s.changes = append(s.changes, SubscriptionChange{Position: int64(i) + 1, Tenant: "acme", SubscriptionID: id, Version: 1,
			Change: subscription.Created{At: time.Unix(0, 0), ID: id, Tenant: "acme", Settings: subscription.Settings{EventTypes: subscription.Filter{"*"}}}})
	}
	s.changes = append(s.changes, SubscriptionChange{Position: 3, Tenant: "acme", SubscriptionID: "sub_1", Version: 2, Unreadable: errors.New("damaged")})
	ix := newIndex(func(context.Context, SubscriptionChange) error { return nil })
	for _, c := range []struct {
		position int64
		want     int
	}{{2, 2}, {4, 1}} {
		if _, _, err := ix.advance(t.Context(), s, []Record{{Position: c.position}}); err != nil {
			t.Fatal(err)
		}
		if got := ix.rosters["acme"].cost(event.VisitReportApproved); got != c.want {
			t.Errorf("at %d it is for %d", c.position, got)
		}
	}
}
