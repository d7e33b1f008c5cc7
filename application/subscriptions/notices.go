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

// Notice is due when the end of the overlap of the lane's rotation is to be announced.
type Notice struct {
	dispatch.Lane
	At time.Time
}

// NoticeStore keeps the notices. The transaction that begins a rotation notes one, and the one that ends it early forgets it.
type NoticeStore interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	LoadSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
	// NextNotices lists those due first behind the given one, by time, tenant and subscription.
	NextNotices(ctx context.Context, after Notice, limit int) ([]Notice, error)
	// EndNotice forgets a notice; false when it is not there any more.
	EndNotice(ctx context.Context, n Notice) (ended bool, err error)
	operational.Store
}

// Notices announces the ends of rotations.
type Notices struct {
	store NoticeStore
	now   func() time.Time
	after Notice // where the next step goes on, since more may fail to be announced than a step takes
	// told is the lanes whose subscription was reported as unreadable: once is enough, until it can be read.
	told map[dispatch.Lane]bool
}

// NewNotices makes Notices.
func NewNotices(store NoticeStore, now func() time.Time) *Notices {
	return &Notices{store: store, now: now, told: map[dispatch.Lane]bool{}}
}

const (
	maxNotices = 100
	// noticesEvery bounds the delay of a notice that another process notes meanwhile.
	noticesEvery = time.Minute
)

// Loop is the step.
func (n *Notices) Loop() loop.Loop { return loop.Loop{Name: "notices", Step: n.Step} }

// Step announces what is due. A notice that cannot be announced is tried again after all others have had their turn.
func (n *Notices) Step(ctx context.Context) (time.Time, error) {
	notices, err := n.store.NextNotices(ctx, n.after, maxNotices)
	if err != nil {
		return time.Time{}, fmt.Errorf("look for rotations that end: %w", err)
	}
	next, after := n.now().Add(noticesEvery), Notice{}
	if len(notices) == maxNotices {
		next, after = n.now(), notices[maxNotices-1]
	}
	var failed error
	for _, notice := range notices {
		now := n.now()
		if notice.At.After(now) {
			next, after = earliest(notice.At, now.Add(noticesEvery)), Notice{}
			break
		}
		err := n.store.InTx(ctx, func(ctx context.Context) error { return n.announce(ctx, notice, now) })
		if n.tells(notice.Lane, err) {
			failed = errors.Join(failed, fmt.Errorf("announce the end of a rotation of %s: %w", notice.SubscriptionID, err))
		}
		if problem.Is(err, problem.Unavailable) || ctx.Err() != nil {
			after = n.after
			break
		}
	}
	n.after = after
	if failed != nil {
		return time.Time{}, failed
	}
	return next, nil
}

// maxTold bounds what is remembered; beyond it some are reported once more.
const maxTold = 10_000

// tells reports whether the failure is news: what is damaged stays so until somebody mends it.
func (n *Notices) tells(of dispatch.Lane, failure error) bool {
	if !errors.Is(failure, dispatch.ErrUnreadable) {
		delete(n.told, of)
		return failure != nil
	}
	if n.told[of] {
		return false
	}
	if len(n.told) >= maxTold {
		clear(n.told)
	}
	n.told[of] = true
	return true
}

// announce forgets the notice in the transaction that accepts the event, so that it is announced once. A process that was away
// until the overlap was over announces nothing.
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
