package subscriptions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/application/operational"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Notice is due at a time: the overlap of the lane's rotation is then to be announced to end.
type Notice struct {
	dispatch.Lane
	At time.Time
}

// NoticeStore keeps the notices. They are noted by the transaction that begins a rotation, and forgotten by the one
// that ends it early.
type NoticeStore interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
	// NextNotices lists those that are due first.
	NextNotices(ctx context.Context, limit int) ([]Notice, error)
	// EndNotice forgets a notice; false when it is not there any more.
	EndNotice(ctx context.Context, n Notice) (ended bool, err error)
	operational.Store
}

// Notices announces the ends of rotations.
type Notices struct {
	store NoticeStore
	now   func() time.Time
}

// NewNotices makes Notices.
func NewNotices(store NoticeStore, now func() time.Time) *Notices { return &Notices{store, now} }

const (
	maxNotices = 100
	// noticesEvery bounds how late a notice is that another process notes meanwhile.
	noticesEvery = time.Minute
)

// Loop is the step.
func (n *Notices) Loop() loop.Loop { return loop.Loop{Name: "notices", Step: n.Step} }

// Step announces what is due. A notice that cannot be announced is tried again, and keeps no other from it.
func (n *Notices) Step(ctx context.Context) (time.Time, error) {
	notices, err := n.store.NextNotices(ctx, maxNotices)
	if err != nil {
		return time.Time{}, fmt.Errorf("look for rotations that end: %w", err)
	}
	next := n.now().Add(noticesEvery)
	if len(notices) == maxNotices {
		next = n.now()
	}
	var failed error
	for _, notice := range notices {
		now := n.now()
		if notice.At.After(now) {
			next = earliest(notice.At, now.Add(noticesEvery))
			break
		}
		err := n.store.InTx(ctx, func(ctx context.Context) error { return n.announce(ctx, notice, now) })
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("announce the end of a rotation of %s: %w", notice.SubscriptionID, err))
		}
		if problem.Is(err, problem.Unavailable) || ctx.Err() != nil {
			break
		}
	}
	if failed != nil {
		return time.Time{}, failed
	}
	return next, nil
}

// announce forgets the notice in the transaction that accepts the event, so that it is told once. A process that
// was away until the overlap was over tells nothing.
func (n *Notices) announce(ctx context.Context, notice Notice, now time.Time) error {
	ended, err := n.store.EndNotice(ctx, notice)
	if err != nil || !ended {
		return err
	}
	s, err := n.store.LoadSubscription(ctx, notice.Lane)
	if err != nil || s.Status == subscription.StatusDeleted || !s.Secrets.Rotating(now) {
		return err
	}
	e, err := operational.RotationEnding(s, now)
	if err != nil {
		return err
	}
	return operational.Accept(ctx, n.store, []intake.Accepted{e})
}

func earliest(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
