package fanout_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// take accepts events of one record each.
func (w *world) take(events ...event.Event) (records []fanout.Record) {
	for _, e := range events {
		position, keys := w.accept(e)
		records = append(records, fanout.Record{Position: position, Keys: keys})
	}
	return records
}

// Records that one set of subscriptions governs cost one set of statements.
func TestRecordsAreHandledTogether(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	records := w.take(sample("evt_1", event.TargetImported), sample("evt_2", event.TargetImported), sample("evt_3", event.TargetImported))
	if err := w.fanOut.Handle(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	if len(w.plans) != 1 || len(w.plan.Scheduled) != 3 || w.reads != 1 {
		t.Errorf("%d plans, the last of %d deliveries, with %d reads of changes", len(w.plans), len(w.plan.Scheduled), w.reads)
	}
	tally := w.plan.Tallies[0]
	if len(w.plan.Tallies) != 1 || tally.Events != 3 || tally.FirstPosition != records[0].Position || tally.LastPosition != records[2].Position {
		t.Errorf("counted %+v", w.plan.Tallies)
	}
	var ids []string // between the first and the last the hour's deliveries are looked for
	for _, s := range w.plan.Scheduled {
		ids = append(ids, s.Delivery.ID)
	}
	if tally.FirstDelivery != slices.Min(ids) || tally.LastDelivery != slices.Max(ids) {
		t.Errorf("%s to %s of %v", tally.FirstDelivery, tally.LastDelivery, ids)
	}
}

// A tally spans the records of its events, in whichever order they are counted.
func TestATallySpansWhatIsSetAside(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	records := w.take(sample("evt_1", event.TargetImported), sample("evt_2", event.TargetImported))
	bad := records[1].Keys[0]
	e := w.events[bad]
	e.Unreadable = errUnreadable
	w.events[bad] = e
	for range 10 {
		if w.fanOut.Handle(t.Context(), records) == nil {
			break
		}
	}
	if tally := w.plan.Tallies[0]; tally.Events != 2 || tally.FirstPosition != records[0].Position || tally.LastPosition != records[1].Position {
		t.Errorf("counted %+v", w.plan.Tallies)
	}
}

var errUnreadable = fmt.Errorf("it is damaged")

// A change between two records governs the later alone.
func TestAChangeBetweenRecordsPartsThem(t *testing.T) {
	w := newWorld(t)
	w.subscribe(acme, "sub_1", settings("*"))
	records := w.take(sample("evt_1", event.TargetImported), sample("evt_2", event.TargetImported))
	w.change("sub_1", subscription.FilterChanged{At: start, EventTypes: subscription.Filter{"visit_report.*"}})
	records = append(records, w.take(sample("evt_3", event.TargetImported), sample("evt_4", event.VisitReportApproved))...)
	if err := w.fanOut.Handle(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	if len(w.plans) != 2 {
		t.Fatalf("%d plans", len(w.plans))
	}
	for i, want := range [][]string{{"evt_1", "evt_2"}, {"evt_4"}} {
		var got []string
		for _, s := range w.plans[i].Scheduled {
			got = append(got, s.Delivery.EventID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("plan %d is of %v, want %v", i, got, want)
		}
	}
}

// TestRecordsTogetherComeToWhatEachComesTo holds records that are handled together against the same records one by one: the same
// is scheduled in the same order, and the same is left for turns.
func TestRecordsTogetherComeToWhatEachComesTo(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		together, alone := newWorld(t), newWorld(t)
		atOnce := rapid.IntRange(1, 8).Draw(rt, "at once")
		var records []fanout.Record
		n := 0
		for range rapid.IntRange(1, 25).Draw(rt, "steps") {
			owner := rapid.SampledFrom([]tenant.ID{acme, other, "third"}).Draw(rt, "tenant")
			n++
			if rapid.IntRange(0, 4).Draw(rt, "what") == 0 {
				for _, w := range []*world{together, alone} {
					w.subscribe(owner, fmt.Sprintf("sub_%02d", n), settings("*"))
				}
				continue
			}
			var events []event.Event
			for i := range rapid.IntRange(1, 4).Draw(rt, "events") {
				e := event.Sample(event.TargetImported, owner)
				e.ID = fmt.Sprintf("evt_%02d_%d", n, i)
				events = append(events, e)
			}
			together.accept(events...)
			position, keys := alone.accept(events...)
			records = append(records, fanout.Record{Position: position, Keys: keys})
		}
		for _, w := range []*world{together, alone} {
			w.atOnce, w.free = atOnce, 0
			w.restart()
		}
		for left := records; len(left) > 0; {
			n := rapid.IntRange(1, len(left)).Draw(rt, "records")
			if err := together.fanOut.Handle(t.Context(), left[:n]); err != nil {
				rt.Fatal(err)
			}
			left = left[n:]
		}
		for _, r := range records {
			if err := alone.fanOut.Handle(t.Context(), []fanout.Record{r}); err != nil {
				rt.Fatal(err)
			}
		}
		if a, b := fmt.Sprint(together.deferred, scheduled(together)), fmt.Sprint(alone.deferred, scheduled(alone)); a != b {
			rt.Errorf("together %s\nalone %s", a, b)
		}
	})
}

// scheduled is what the plans have, in order.
func scheduled(w *world) (list []string) {
	for _, p := range w.plans {
		for _, s := range p.Scheduled {
			list = append(list, s.Delivery.EventID+" to "+s.Delivery.SubscriptionID)
		}
	}
	return list
}

// Events that came in while the log was read as soon as it was written are no tenant's account.
func TestRecordsThatAreNotLateAreNotCountedTogether(t *testing.T) {
	w := newWorld(t)
	w.atOnce = 2
	w.restart()
	w.subscribe(acme, "sub_1", settings("*"))
	records := w.take(sample("evt_1", event.TargetImported), sample("evt_2", event.TargetImported), sample("evt_3", event.TargetImported))
	for _, r := range records {
		e := w.events[r.Keys[0]]
		e.At = start.Add(-time.Millisecond)
		w.events[r.Keys[0]] = e
	}
	if err := w.fanOut.Handle(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	if got := scheduled(w); len(got) != 3 || len(w.deferred) != 0 || len(w.plans) != 2 {
		t.Errorf("scheduled %v in %d plans, left %v", got, len(w.plans), w.deferred)
	}
}
