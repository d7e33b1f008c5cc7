package memory

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// NoteHealth remembers for how long each lane has done nothing but fail; see dispatch.Store.
func (s *Store) NoteHealth(ctx context.Context, lanes map[dispatch.Lane]dispatch.Ended, now time.Time) (map[dispatch.Lane]dispatch.Health, error) {
	health := map[dispatch.Lane]dispatch.Health{}
	err := s.update(ctx, func(_ context.Context, tx *tx) error {
		for lane, ended := range lanes {
			row, found := s.subscriptions.get(laneKey(lane))
			if !found || row.URL != ended.URL {
				continue
			}
			before := row
			row = row.noted(ended, now)
			if row.failingSince != before.failingSince || row.failures != before.failures {
				s.subscriptions.put(tx, laneKey(lane), row)
			}
			if !ended.Succeeded {
				health[lane] = dispatch.Health{FailingSince: row.failingSince, Failures: row.failures,
					Reached: before.failures < subscription.FailuresUntilFailing && row.failures >= subscription.FailuresUntilFailing}
			}
		}
		return nil
	})
	return health, err
}

func (row storedSubscription) noted(ended dispatch.Ended, now time.Time) storedSubscription {
	switch {
	case ended.Succeeded:
		row.failingSince, row.failures = time.Time{}, 0
	case row.failingSince.IsZero():
		row.failingSince, row.failures = now, ended.Failures
	case row.failures < subscription.FailuresUntilFailing:
		row.failures += ended.Failures
	}
	return row
}

// NextNotices lists the notices that are due first behind one; see subscriptions.NoticeStore.
func (s *Store) NextNotices(ctx context.Context, after subscriptions.Notice, limit int) (list []subscriptions.Notice, err error) {
	done, err := s.read(ctx)
	defer done()
	for _, n := range s.notices.all() {
		if compareNotices(n, after) > 0 {
			list = append(list, n)
		}
	}
	slices.SortFunc(list, compareNotices)
	return list[:min(len(list), limit)], err
}

func compareNotices(a, b subscriptions.Notice) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.SubscriptionID, b.SubscriptionID))
}

// EndNotice forgets a notice.
func (s *Store) EndNotice(ctx context.Context, n subscriptions.Notice) (ended bool, err error) {
	err = s.update(ctx, func(_ context.Context, tx *tx) error {
		if noted, found := s.notices.get(laneKey(n.Lane)); found && noted.At.Equal(n.At) {
			ended = s.notices.drop(tx, laneKey(n.Lane))
		}
		return nil
	})
	return ended, err
}
