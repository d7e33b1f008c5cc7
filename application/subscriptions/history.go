package subscriptions

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Recorded is a change as the stream keeps it, with who asked for it.
type Recorded struct {
	Change subscription.Change
	By     Actor
	At     time.Time
}

// Gated counts the events withheld from a subscription by a missing feature while one of its versions was in force.
type Gated struct {
	Version     int64
	Feature     tenant.Feature
	Events      int
	First, Last time.Time // when they were accepted
}

// HistoryStore reads what was changed.
type HistoryStore interface {
	// SubscriptionHistory reads the stream, oldest first, also of what was deleted; problem.NotFound when there is none.
	SubscriptionHistory(ctx context.Context, lane dispatch.Lane) ([]Recorded, error)
	// GatedEvents counts the gated events of the versions from first to last, by version, the lowest first.
	GatedEvents(ctx context.Context, lane dispatch.Lane, first, last int64) ([]Gated, error)
}

// Entry is one change of a subscription's history.
type Entry struct {
	Recorded
	Before, After subscription.Subscription
	// Gated is what was withheld while After was in force.
	Gated []Gated
}

// History tells what became of a subscription, straight from its stream.
type History struct{ Store HistoryStore }

// Page lists changes, newest first: those before a version, or the newest when that is 0.
func (h *History) Page(ctx context.Context, lane dispatch.Lane, before int64, limit int) ([]Entry, error) {
	changes, err := h.Store.SubscriptionHistory(ctx, lane)
	if err != nil {
		return nil, err
	}
	end := len(changes)
	if before > 0 {
		end = min(end, int(before)-1)
	}
	first := max(0, end-limit)
	page := make([]Entry, 0, end-first) // of a history of 50,000 changes all entries would take 35 MB
	var state subscription.Subscription
	for i, c := range changes[:end] {
		entry := Entry{Recorded: c, Before: state}
		if err := state.Apply(c.Change); err != nil {
			return nil, fmt.Errorf("read the history of %s: %w", lane.SubscriptionID, err)
		}
		if entry.After = state; i >= first {
			page = append(page, entry)
		}
	}
	slices.Reverse(page)
	return page, h.addGated(ctx, lane, page)
}

func (h *History) addGated(ctx context.Context, lane dispatch.Lane, page []Entry) error {
	if len(page) == 0 {
		return nil
	}
	newest := page[0].After.Version
	gated, err := h.Store.GatedEvents(ctx, lane, page[len(page)-1].After.Version, newest)
	if err != nil {
		return fmt.Errorf("count what a missing feature kept from %s: %w", lane.SubscriptionID, err)
	}
	for _, g := range gated {
		entry := &page[newest-g.Version]
		entry.Gated = append(entry.Gated, g)
	}
	return nil
}

// At is the subscription as it was at a moment; problem.NotFound before it was created and after it was deleted.
func (h *History) At(ctx context.Context, lane dispatch.Lane, at time.Time) (subscription.Subscription, error) {
	return h.asOf(ctx, lane, func(c Recorded, _ int64) bool { return !c.At.After(at) })
}

// Version is the subscription after its first version changes; problem.NotFound when it has not had that many.
func (h *History) Version(ctx context.Context, lane dispatch.Lane, version int64) (subscription.Subscription, error) {
	then, err := h.asOf(ctx, lane, func(_ Recorded, number int64) bool { return number <= version })
	if err == nil && then.Version != version {
		err = problem.New(problem.NotFound, "The subscription has not had a version %d.", version)
	}
	return then, err
}

// asOf folds the changes up to the first for which until does not hold.
func (h *History) asOf(ctx context.Context, lane dispatch.Lane, until func(c Recorded, number int64) bool) (then subscription.Subscription, err error) {
	changes, err := h.Store.SubscriptionHistory(ctx, lane)
	if err != nil {
		return then, err
	}
	for i, c := range changes {
		if !until(c, int64(i)+1) {
			break
		}
		if err := then.Apply(c.Change); err != nil {
			return subscription.Subscription{}, fmt.Errorf("%w: the history of %s: %w", dispatch.ErrUnreadable, lane.SubscriptionID, err)
		}
	}
	switch {
	case then.Version == 0:
		err = problem.New(problem.NotFound, "There was no such subscription yet.")
	case then.Status == subscription.StatusDeleted:
		err = problem.New(problem.NotFound, "The subscription was deleted by then; its history says by whom.")
	}
	return then, err
}
