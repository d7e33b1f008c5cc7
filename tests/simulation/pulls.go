package simulation

import (
	"bytes"
	"context"
	"errors"
	"time"

	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// puller is a receiver that asks for its events, of one process or another, and comes back with the cursor that it got last.
type puller struct {
	lane  dispatch.Lane
	after catchup.Cursor
	got   map[string]int // by event, how often
}

// pull begins with some subscription, from the beginning of its events.
func (w *world) pull(a *activity) {
	states := w.store.States()
	at := &puller{lane: laneOf(states[w.reading.IntN(len(states))]), got: map[string]int{}}
	w.pullers = append(w.pullers, at)
	for !w.quiet {
		a.sleep(w.now.Add(time.Duration(w.reading.Int64N(int64(10*time.Second)))), nil)
		p := w.anyProcess(w.reading)
		if p == nil {
			continue
		}
		page, err := p.pull.Read(context.Background(), catchup.Query{Lane: at.lane, After: at.after, Limit: 1 + w.reading.IntN(5)})
		if p.dead {
			continue // the answer is lost
		}
		w.pulled(p.name, at, page, err)
	}
}

// pulled checks a page, and goes on behind it.
func (w *world) pulled(by string, at *puller, page catchup.Page, err error) {
	w.trace.line("puller: %d events of %s by %s: %v", len(page.Items), at.lane.SubscriptionID, by, err)
	switch {
	case errors.Is(err, catchup.ErrTooOld) && w.purges, errors.Is(err, catchup.ErrRestored) && w.purges && w.clocks:
		at.after, at.got = catchup.Cursor{}, map[string]int{}
	case errors.Is(err, catchup.ErrTooOld), errors.Is(err, catchup.ErrRestored):
		w.violate("pull", "the cursor %+v of %s was refused: %v", at.after, at.lane.SubscriptionID, err)
	case err != nil:
	default:
		for _, item := range page.Items {
			w.checkItem(at, item)
		}
		at.after = page.Next
	}
}

// checkItem is I2 and I4 for what is pulled: a delivery of the subscription, with the bytes that are stored. An event comes again only if it
// was set aside, and moved to the end of the log by a retry.
func (w *world) checkItem(at *puller, item catchup.Item) {
	w.counts.Pulled++
	body, err := w.store.Body(context.Background(), item.Delivery)
	if _, gone := w.journal.purged.events[intake.EventKey{Tenant: item.Tenant, ID: item.EventID}]; !gone && (err != nil || !bytes.Equal(body, item.Body)) {
		w.violate("I4", "%s was pulled with other bytes than those that are stored", item.ID)
	}
	if dispatch.LaneOf(item.Delivery) != at.lane {
		w.violate("I9", "%s of %s was pulled for %s", item.ID, item.SubscriptionID, at.lane.SubscriptionID)
	}
	if at.got[item.EventID]++; at.got[item.EventID] > 1 && !isPoisonous(item.EventID) && !w.purges {
		w.violate("pull", "%s was pulled twice for %s", item.EventID, at.lane.SubscriptionID)
	}
}

// checkPulled is I1 for those who pull: whoever goes on to the end has each event that was delivered to it.
func (w *world) checkPulled() {
	missing, _ := w.madeOf(w.store.Rows())
	for _, at := range w.pullers {
		if !w.pullsRest(at) {
			continue
		}
		for _, row := range w.store.Rows() {
			_, purged := w.journal.purged.events[eventOf(row)]
			if laneOfRow(row) == at.lane && at.got[row.EventID] == 0 && missing[gottenBy(row)] == 0 && !purged { // what was missing came to stand where others had read
				w.violate("pull", "%s was delivered as %s to %s, which pulled everything and did not get it", row.EventID, row.ID, at.lane.SubscriptionID)
			}
		}
	}
}

// pullsRest goes on to the end, and is false for a subscription that was deleted. A cursor may have become too old, one that it leads to may not.
func (w *world) pullsRest(at *puller) bool {
	p := w.processes[0]
	s := catchup.Service{Reader: w.store, Subscriptions: p.subs, Signer: p.attempter, Now: func() time.Time { return w.now }, Kept: w.ages.Shortest()}
	for tries := 0; ; tries++ {
		page, err := s.Read(context.Background(), catchup.Query{Lane: at.lane, After: at.after, Limit: 1 + w.reading.IntN(20)})
		w.pulled("nobody", at, page, err)
		switch {
		case problem.Is(err, problem.NotFound):
			return false
		case err != nil && tries > 0:
			w.violate("pull", "the rest of %s cannot be pulled: %v", at.lane.SubscriptionID, err)
			return false
		case err == nil && !page.More && len(page.Items) == 0:
			return true
		}
	}
}

// Of those who pull.

func (s *session) EventsAfter(ctx context.Context, owner tenant.ID, sequence int64, limit int) ([]queries.Event, error) {
	return read(ctx, s, "EventsAfter", func(ctx context.Context) ([]queries.Event, error) {
		return s.Store.EventsAfter(ctx, owner, sequence, limit)
	})
}

func (s *session) NewestOf(ctx context.Context, lane dispatch.Lane, eventIDs []string) (map[string]delivery.Delivery, error) {
	return read(ctx, s, "NewestOf", func(ctx context.Context) (map[string]delivery.Delivery, error) {
		return s.Store.NewestOf(ctx, lane, eventIDs)
	})
}
