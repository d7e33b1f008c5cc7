package memory

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// storedHour is what was counted of one hour, and when it is checked.
type storedHour struct {
	fanout.Tally
	due, checked time.Time
	unbalanced   bool
}

func hourKey(owner tenant.ID, hour time.Time) key {
	return keyOf(owner, fmt.Sprintf("%020d", hour.UnixMicro()))
}

func (s *Store) addTally(tx *tx, t fanout.Tally) {
	k := hourKey(t.Tenant, t.Hour)
	h, found := s.hours.get(k)
	if !found {
		h = storedHour{Tally: fanout.Tally{Tenant: t.Tenant, Hour: t.Hour}, due: t.Hour}
	}
	h.Events += t.Events
	h.Expected += t.Expected
	h.Deliveries += t.Deliveries
	h.NotMatched += t.NotMatched
	h.FeatureGated += t.FeatureGated
	h.SetAside += t.SetAside
	s.hours.put(tx, k, h)
}

// hoursWithin is the hours that begin from since on and before until.
func (s *Store) hoursWithin(owner tenant.ID, since, until time.Time) (hours []storedHour) {
	for _, h := range s.hours.under(string(owner)) {
		if !h.Hour.Before(since) && h.Hour.Before(until) {
			hours = append(hours, h)
		}
	}
	return hours
}

// DeliveriesWithin is how many deliveries were counted; see reconciliation.Reader.
func (s *Store) DeliveriesWithin(ctx context.Context, owner tenant.ID, since, until time.Time) (n int, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, h := range s.hoursWithin(owner, since, until) {
		n += h.Deliveries
	}
	return n, err
}

// Hours counts and compares; see reconciliation.Reader.
func (s *Store) Hours(ctx context.Context, owner tenant.ID, since, until time.Time) ([]reconciliation.Hour, error) {
	done, err := s.read(ctx)
	defer done()
	if err != nil {
		return nil, err
	}
	found := map[int64]*reconciliation.Hour{}
	var hours []*reconciliation.Hour
	at := func(accepted time.Time) *reconciliation.Hour {
		begins := accepted.Truncate(reconciliation.Span)
		h := found[begins.UnixMicro()]
		if h == nil {
			h = &reconciliation.Hour{Begins: begins, There: reconciliation.There{Deliveries: map[delivery.Status]int{}}}
			found[begins.UnixMicro()] = h
			hours = append(hours, h)
		}
		return h
	}
	for _, h := range s.hoursWithin(owner, since, until) {
		at(h.Hour).Counted = h.Counted
	}
	within := func(accepted time.Time) bool { return !accepted.Before(since) && accepted.Before(until) }
	fannedOut := s.fannedOut(owner)
	for _, e := range s.events.under(string(owner)) {
		switch {
		case !within(e.At):
		case e.sequence >= fannedOut:
			at(e.At).Waiting++
		default:
			at(e.At).There.Events++
		}
	}
	for _, g := range s.gated.under(string(owner)) {
		if within(g.AcceptedAt) {
			at(g.AcceptedAt).There.FeatureGated++
		}
	}
	for accepted, status := range s.firstOfEach(owner) {
		if within(accepted) {
			at(accepted).There.Deliveries[status]++
		}
	}
	slices.SortFunc(hours, func(a, b *reconciliation.Hour) int { return a.Begins.Compare(b.Begins) })
	list := make([]reconciliation.Hour, len(hours))
	for i, h := range hours {
		list[i] = *h
	}
	return list, nil
}

// firstOfEach yields the acceptance and the status of each event's first delivery to a subscription; others are replays.
func (s *Store) firstOfEach(owner tenant.ID) func(yield func(time.Time, delivery.Status) bool) {
	first := map[[2]string]queued{}
	for _, from := range []*table[queued]{s.open, s.closed} {
		for _, q := range from.under(string(owner)) {
			if reconciliation.IsOfReplay(q.acceptedAt) {
				continue
			}
			pair := [2]string{q.EventID, q.SubscriptionID}
			if known, found := first[pair]; !found || q.ID < known.ID {
				first[pair] = q
			}
		}
	}
	return func(yield func(time.Time, delivery.Status) bool) {
		for _, q := range first {
			if !yield(q.acceptedAt, q.shown().Status) {
				return
			}
		}
	}
}

// Unsettled lists open deliveries; see reconciliation.Reader.
func (s *Store) Unsettled(ctx context.Context, owner tenant.ID, since, until time.Time, limit int) (list []delivery.Delivery, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, q := range s.open.under(string(owner)) {
		if !q.acceptedAt.Before(since) && q.acceptedAt.Before(until) && !reconciliation.IsOfReplay(q.acceptedAt) && len(list) < limit {
			list = append(list, q.shown())
		}
	}
	return list, err
}

// NextCheck gives an hour to check to one caller; see reconciliation.CheckStore.
func (s *Store) NextCheck(ctx context.Context, now, retry time.Time) (due reconciliation.Checked, found bool, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		var taken key
		var oldest storedHour
		for k, h := range s.hours.all() {
			if !h.due.After(now) && (!found || h.due.Before(oldest.due)) {
				taken, oldest, found = k, h, true
			}
		}
		if found {
			oldest.due = retry
			s.hours.put(tx, taken, oldest)
			due = reconciliation.Checked{Tenant: oldest.Tenant, Begins: oldest.Hour}
		}
		return nil
	})
	return due, found, err
}

// EndCheck notes the result of a check.
func (s *Store) EndCheck(ctx context.Context, c reconciliation.Checked, unbalanced bool, now, next time.Time) error {
	return s.update(ctx, func(_ context.Context, tx *tx) error {
		if h, found := s.hours.get(hourKey(c.Tenant, c.Begins)); found {
			h.checked, h.unbalanced, h.due = now, unbalanced, next
			s.hours.put(tx, hourKey(c.Tenant, c.Begins), h)
		}
		return nil
	})
}

// CheckResult is what the checks have found.
func (s *Store) CheckResult(ctx context.Context) (result reconciliation.Result, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, h := range s.hours.all() {
		if h.unbalanced {
			result.Unbalanced++
		}
		if h.checked.After(result.CheckedAt) {
			result.CheckedAt = h.checked
		}
	}
	return result, err
}

func (s *Store) purgeHours(tx *tx, before time.Time) {
	for _, k := range slices.Clone(s.hours.keys) {
		if h, _ := s.hours.get(k); h.Hour.Before(before) {
			s.hours.drop(tx, k)
		}
	}
}
