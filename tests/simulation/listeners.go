package simulation

import (
	"context"
	"errors"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/simulation/memory"
)

// follower is a client that follows a tenant's deliveries, and comes back with the id that it got last when its stream ends.
type follower struct {
	tenant tenant.ID
	filter live.Filter
	chance *rand.Rand
	seen   *live.Mark // that it has; nil for none
	from   int64      // where it began
	told   map[string][]delivery.Delivery
}

// idOf is a mark as its id has it, which knows no part of a second.
func idOf(position int64, at time.Time) *live.Mark {
	return &live.Mark{Position: position, At: at.Truncate(time.Second)}
}

// follow follows all of a tenant's deliveries.
func (w *world) follow(a *activity) {
	w.listen(a, &follower{tenant: tenants[w.reading.IntN(w.tenants)], chance: w.reading, told: map[string][]delivery.Delivery{}})
}

// followSome follows those that a filter picks.
func (w *world) followSome(a *activity) {
	states := w.store.States()
	s, f := states[w.asking.IntN(len(states))], live.Filter{}
	switch statuses, types := delivery.Statuses(), event.Types(); w.asking.IntN(4) {
	case 0:
		f.Status = statuses[w.asking.IntN(len(statuses))]
	case 1:
		f.SubscriptionID = s.ID
	case 2:
		f.EventType = types[w.asking.IntN(len(types))]
	default:
		f.Since = w.now.Add(time.Duration(w.asking.Int64N(int64(time.Minute))))
		f.Until = f.Since.Add(time.Duration(w.asking.Int64N(int64(time.Minute))))
	}
	w.listen(a, &follower{tenant: s.Tenant, filter: f, chance: w.asking, told: map[string][]delivery.Delivery{}})
}

// listen hears for a while by one process or another, as ports/rest does for a stream.
func (w *world) listen(a *activity, f *follower) {
	w.followers = append(w.followers, f)
	for !w.quiet {
		a.sleep(w.now.Add(time.Duration(f.chance.Int64N(int64(15*time.Second)))), nil)
		p := w.anyProcess(f.chance)
		if p == nil {
			continue
		}
		l, err := p.hub.Listen(context.Background(), f.tenant, "key_1", f.filter)
		if err != nil {
			w.trace.line("follower: %s: %v", p.name, err)
			continue
		}
		w.stream(a, p, f, l)
		l.Leave()
	}
}

// stream tells what was missed and what comes, until somebody has enough of it.
func (w *world) stream(a *activity, p *process, f *follower, l *live.Listener) {
	if w.resume(p.name, f, l, func() bool { return p.dead }) != nil {
		return
	}
	for until := w.now.Add(time.Duration(f.chance.Int64N(int64(6 * time.Second)))); w.now.Before(until); {
		a.sleep(w.now.Add(time.Duration(50+f.chance.IntN(400))*time.Millisecond), nil)
		if p.dead {
			return
		}
		for heard := true; heard; {
			select {
			case c := <-l.Changes():
				w.tells(f, *c)
			default:
				heard = false
			}
		}
		select {
		case <-l.Ended():
			w.trace.line("follower: %s: %v", p.name, l.Reason())
			return
		default:
		}
	}
}

var errGone = errors.New("simulated: the connection is gone")

// resume tells what was missed.
func (w *world) resume(by string, f *follower, l *live.Listener, gone func() bool) error {
	since := l.Since()
	if f.seen == nil {
		f.from, f.seen = since.Position, idOf(since.Position, since.At)
		return nil
	}
	err := l.Replay(context.Background(), *f.seen, func(c live.Change) error {
		if gone() {
			return errGone
		}
		w.counts.Replayed++
		w.tells(f, c)
		return nil
	})
	w.trace.line("follower: resumes by %s: %v", by, err)
	switch {
	case gone():
		return errGone
	case errors.Is(err, live.ErrTooOld) && !w.purges:
		w.violate("live", "%+v was refused: %v", *f.seen, err)
	case errors.Is(err, live.ErrTooOld):
		f.from, f.seen, f.told = since.Position, idOf(since.Position, since.At), map[string][]delivery.Delivery{}
		return nil
	case err == nil:
		f.seen = idOf(max(since.Position, f.seen.Position), since.At)
	}
	return err
}

// tells passes on what the client does not have yet. Each change is told once, and as it left the delivery.
func (w *world) tells(f *follower, c live.Change) {
	if c.Position < f.seen.Position || c.Position == f.seen.Position && !c.IsBeat() {
		return
	}
	f.seen = idOf(c.Position, c.At)
	if c.IsBeat() {
		return
	}
	w.counts.Told++
	if c.Tenant != f.tenant {
		w.violate("I9", "%s of %s was told to %s", c.ID, c.Tenant, f.tenant)
	}
	if !f.filter.Matches(c.Delivery) {
		w.violate("live", "%s was told to who follows %+v: %+v", c.ID, f.filter, c.Delivery)
	}
	before := f.told[c.ID]
	if n := len(before); n > 0 && c.Version <= before[n-1].Version {
		w.violate("live", "%s was told at version %d after version %d", c.ID, c.Version, before[n-1].Version)
	}
	f.told[c.ID] = append(before, c.Delivery)
}

// checkTold holds what followers were told, once they have resumed for the last time, to what became of the deliveries.
func (w *world) checkTold() {
	ctx := context.Background()
	for _, f := range w.followers {
		if f.seen == nil {
			continue
		}
		l, err := live.New(w.store, w.store, func() time.Time { return w.now }, live.Limits{Kept: w.ages.Shortest()}).Listen(ctx, f.tenant, "key_1", f.filter)
		must(err)
		if err := w.resume("nobody", f, l, func() bool { return false }); err != nil {
			w.violate("live", "what was missed is not told: %v", err)
		}
		for _, row := range w.store.Rows() {
			if row.Tenant == f.tenant {
				w.checkToldOf(f, row)
			}
		}
	}
}

// checkToldOf holds what a follower was told of a delivery to what its changes have made of it since the follower began: each that it follows
// was told, but for those that are recorded together with the next, and nothing else.
func (w *world) checkToldOf(f *follower, row memory.Row) {
	told := f.told[row.ID]
	stream := w.store.DeliveryStream(row.Tenant, row.ID)
	states := make([]delivery.Delivery, len(stream))
	for i, placed := range stream {
		if i > 0 {
			states[i] = states[i-1]
		}
		must(states[i].Apply(placed.Change))
	}
	for i, now := range states {
		followed := i+1 < len(states) && states[i+1].UpdatedAt.Equal(now.UpdatedAt)
		switch {
		case len(told) > 0 && told[0].Version == now.Version:
			if !reflect.DeepEqual(told[0], now) {
				w.violate("live", "%s was\n%+v and was told as\n%+v", row.ID, now, told[0])
			}
			told = told[1:]
		case !followed && stream[i].Position > f.from && f.filter.Matches(now):
			w.violate("live", "%s was not told at version %d to who follows %+v", row.ID, now.Version, f.filter)
		}
	}
	if len(told) > 0 {
		w.violate("live", "%s was told at version %d, and is at %d", row.ID, told[0].Version, row.Version)
	}
}

// Of those who follow.

func (s *session) DeliveryRecords(ctx context.Context, after int64, limit int) ([]live.Record, error) {
	return read(ctx, s, "DeliveryRecords", func(ctx context.Context) ([]live.Record, error) { return s.Store.DeliveryRecords(ctx, after, limit) })
}

func (s *session) TenantDeliveryRecords(ctx context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error) {
	return read(ctx, s, "TenantDeliveryRecords", func(ctx context.Context) ([]live.Record, error) {
		return s.Store.TenantDeliveryRecords(ctx, owner, after, upTo)
	})
}

func (s *session) DeliveryStreams(ctx context.Context, upTo map[live.Key]int64) (map[live.Key][]delivery.Change, error) {
	return read(ctx, s, "DeliveryStreams", func(ctx context.Context) (map[live.Key][]delivery.Change, error) {
		return s.Store.DeliveryStreams(ctx, upTo)
	})
}

func (s *session) EndedKeys(ctx context.Context, ids []string, now time.Time) ([]string, error) {
	return read(ctx, s, "EndedKeys", func(ctx context.Context) ([]string, error) { return s.Store.EndedKeys(ctx, ids, now) })
}
