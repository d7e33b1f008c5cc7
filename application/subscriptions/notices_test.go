package subscriptions_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// told is the tenant's operational events.
func (w *world) told() []intake.Accepted {
	w.Helper()
	list, err := w.AcceptedEvents(w.Context(), queries.EventFilter{Tenant: "acme", Limit: 100})
	w.ok(err)
	keys := make([]intake.EventKey, len(list))
	for i, e := range list {
		keys[i] = intake.EventKey{Tenant: e.Tenant, ID: e.ID}
	}
	events, err := w.Events(w.Context(), keys)
	w.ok(err)
	return events
}

func TestTheEndOfARotationIsAnnouncedOnce(t *testing.T) {
	w := newWorld(t)
	s := w.create(nil)
	step := func(at, wantNext time.Duration, told int) {
		t.Helper()
		w.now = start.Add(at)
		next, err := subscriptions.NewNotices(w.Store, w.service.Now).Step(t.Context())
		if err != nil || !next.Equal(start.Add(wantNext)) || len(w.told()) != told {
			t.Errorf("after %s: next after %s, %v, told %d", at, next.Sub(start), err, len(w.told()))
		}
	}
	step(0, time.Minute, 0)
	after, _, err := w.service.RotateSecret(t.Context(), laneOf(s), 0, 24*time.Hour, by)
	w.ok(err)
	step(time.Hour, time.Hour+time.Minute, 0)
	step(18*time.Hour-time.Second, 18*time.Hour, 0)
	step(18*time.Hour, 18*time.Hour+time.Minute, 1)
	step(19*time.Hour, 19*time.Hour+time.Minute, 1)
	e := w.told()[0]
	if e.Type != event.SecretRotationEnding || e.Subscription.ID != s.ID || e.Subscription.Name != s.Name ||
		!e.SecretRotation.OverlapEnd.Equal(after.Secrets.OverlapEnd) || !e.OccurredAt.Equal(start.Add(18*time.Hour)) || !event.ValidID(e.ID) {
		t.Errorf("told %+v, %+v, %+v", e, e.Subscription, e.SecretRotation)
	}
}

func TestAnOverlapThatIsOverIsNotAnnounced(t *testing.T) {
	w := newWorld(t)
	late, completed, deleted := w.create(nil), w.create(nil), w.create(nil)
	for _, s := range []string{late.ID, completed.ID, deleted.ID} {
		lane := laneOf(late)
		lane.SubscriptionID = s
		_, _, err := w.service.RotateSecret(t.Context(), lane, 0, time.Hour, by)
		w.ok(err)
	}
	_, err := w.service.CompleteRotation(t.Context(), laneOf(completed), 0, by)
	w.ok(err)
	w.ok(w.service.Delete(t.Context(), laneOf(deleted), 0, by))
	w.now = start.Add(time.Hour)
	for range 2 {
		_, err = subscriptions.NewNotices(w.Store, w.service.Now).Step(t.Context())
		w.ok(err)
	}
	left, err := w.NextNotices(t.Context(), subscriptions.Notice{}, 10)
	w.ok(err)
	if len(left) > 0 || len(w.told()) > 0 {
		t.Errorf("told %v, left %v", w.told(), left)
	}
}

// cutStore fails to accept events as long as it is cut.
type cutStore struct {
	subscriptions.NoticeStore
	cut bool
}

func (s *cutStore) AppendEvents(ctx context.Context, events []intake.Accepted) error {
	if s.cut {
		return errors.New("cut off")
	}
	return s.NoticeStore.AppendEvents(ctx, events)
}

func TestANoticeThatCouldNotBeToldComesAgain(t *testing.T) {
	w := newWorld(t)
	_, _, err := w.service.RotateSecret(t.Context(), laneOf(w.create(nil)), 0, time.Hour, by)
	w.ok(err)
	w.now = start.Add(45 * time.Minute)
	store := &cutStore{w.Store, true}
	notices := subscriptions.NewNotices(store, w.service.Now)
	if _, err := notices.Step(t.Context()); err == nil || len(w.told()) > 0 {
		t.Errorf("told %v, %v", w.told(), err)
	}
	store.cut = false
	if _, err := notices.Step(t.Context()); err != nil || len(w.told()) != 1 {
		t.Errorf("told %v, %v", w.told(), err)
	}
}

// damagedStore cannot read some subscriptions.
type damagedStore struct {
	subscriptions.NoticeStore
	lanes map[dispatch.Lane]bool
}

func (s *damagedStore) LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	if s.lanes[lane] {
		return subscription.Subscription{}, fmt.Errorf("%w: damaged", dispatch.ErrUnreadable)
	}
	return s.NoticeStore.LoadSubscription(ctx, lane)
}

func TestARotationThatCannotBeReadKeepsNoOtherFromBeingAnnounced(t *testing.T) {
	w := newWorld(t)
	damaged, whole := w.create(nil), w.create(nil)
	for _, s := range []subscription.Subscription{damaged, whole} {
		_, _, err := w.service.RotateSecret(t.Context(), laneOf(s), 0, 24*time.Hour, by)
		w.ok(err)
		w.now = w.now.Add(time.Second)
	}
	w.now = start.Add(19 * time.Hour)
	store := &damagedStore{w.Store, map[dispatch.Lane]bool{laneOf(damaged): true}}
	notices := subscriptions.NewNotices(store, w.service.Now)
	_, err := notices.Step(t.Context())
	if told := w.told(); err == nil || len(told) != 1 || told[0].Subscription.ID != whole.ID {
		t.Errorf("told %v, %v", told, err)
	}
	// It was said once, and is said again when it could be read meanwhile.
	for range 3 {
		if next, err := notices.Step(t.Context()); err != nil || !next.Equal(w.now.Add(time.Minute)) {
			t.Errorf("said again: %v, next at %s", err, next)
		}
	}
	clear(store.lanes)
	if _, err := notices.Step(t.Context()); err != nil || len(w.told()) != 2 {
		t.Errorf("once it can be read: told %v, %v", w.told(), err)
	}
	w.now = start.Add(48 * time.Hour)
	_, _, err = w.service.RotateSecret(t.Context(), laneOf(damaged), 0, 24*time.Hour, by)
	w.ok(err)
	w.now = w.now.Add(19 * time.Hour)
	store.lanes[laneOf(damaged)] = true
	if _, err := notices.Step(t.Context()); err == nil {
		t.Error("what cannot be read any more is not said")
	}
}

// More cannot be read than a step takes, and all of them come before the one that can.
func TestManyRotationsThatCannotBeReadKeepNoOtherFromBeingAnnounced(t *testing.T) {
	w := newWorld(t)
	damaged := map[dispatch.Lane]bool{}
	var whole subscription.Subscription
	for range 201 {
		whole = w.create(nil)
		_, _, err := w.service.RotateSecret(t.Context(), laneOf(whole), 0, 24*time.Hour, by)
		w.ok(err)
		damaged[laneOf(whole)] = true
		w.now = w.now.Add(time.Second)
	}
	delete(damaged, laneOf(whole))
	w.now = start.Add(19 * time.Hour)
	store := &damagedStore{w.Store, damaged}
	notices := subscriptions.NewNotices(store, w.service.Now)
	for range 3 {
		_, _ = notices.Step(t.Context())
	}
	if told := w.told(); len(told) != 1 || told[0].Subscription.ID != whole.ID {
		t.Fatalf("told %v", told)
	}
	clear(damaged)
	for range 3 {
		_, err := notices.Step(t.Context())
		w.ok(err)
	}
	left, err := w.NextNotices(t.Context(), subscriptions.Notice{}, 10)
	w.ok(err)
	if len(left) > 0 {
		t.Errorf("left %v", left)
	}
}
