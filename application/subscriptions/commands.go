package subscriptions

import (
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Update changes the settings that edit changes; version is as in If-Match, or AnyVersion. An edit
// that sets the retry schedule to nil goes back to the service's default.
func (s *Service) Update(ctx context.Context, lane dispatch.Lane, version int64, by Actor, edit func(*subscription.Settings), then ...Decision) (subscription.Subscription, error) {
	update, err := s.PrepareUpdate(ctx, lane, version, by, edit, then...)
	if err != nil {
		return subscription.Subscription{}, err
	}
	return update(ctx)
}

// PrepareUpdate is the part of Update before any transaction; see canonicalURL. The update that it returns may be part of one.
func (s *Service) PrepareUpdate(ctx context.Context, lane dispatch.Lane, version int64, by Actor, edit func(*subscription.Settings), then ...Decision) (
	update func(context.Context) (subscription.Subscription, error), err error) {
	before, err := s.Get(ctx, lane)
	if err != nil {
		return nil, err
	}
	wanted := before.Settings
	edit(&wanted)
	canonical := wanted.URL
	var refusal error
	if wanted.URL != before.URL {
		canonical, refusal = s.canonicalURL(wanted.URL)
	}
	decide := func(ctx context.Context, now subscription.Subscription) ([]subscription.Change, error) {
		settings := now.Settings
		edit(&settings)
		ownSchedule := settings.RetrySchedule != nil && !slices.Equal(settings.RetrySchedule, now.RetrySchedule)
		if settings.RetrySchedule == nil {
			settings.RetrySchedule = s.DefaultSchedule
		}
		if err := s.check(settings, ownSchedule, refusal); err != nil {
			return nil, err
		}
		if settings.URL == wanted.URL {
			settings.URL = canonical
		}
		changes, err := now.Update(settings, s.Now())
		if err != nil || !settings.NeedsBilling(now.Settings) {
			return changes, err
		}
		return changes, s.mustHaveFeature(ctx, now.Tenant)
	}
	return func(ctx context.Context) (subscription.Subscription, error) {
		return s.change(ctx, lane, version, by, decide, then...)
	}, nil
}

// Pause parks what comes.
func (s *Service) Pause(ctx context.Context, lane dispatch.Lane, version int64, reason string, by Actor) (subscription.Subscription, error) {
	return s.change(ctx, lane, version, by, func(_ context.Context, now subscription.Subscription) ([]subscription.Change, error) {
		return now.Pause(reason, s.Now())
	})
}

// Resume sends what was parked, in order, or skips it.
func (s *Service) Resume(ctx context.Context, lane dispatch.Lane, version int64, skipParked bool, by Actor) (subscription.Subscription, error) {
	return s.change(ctx, lane, version, by, func(_ context.Context, now subscription.Subscription) ([]subscription.Change, error) {
		return now.Resume(skipParked, s.Now())
	})
}

// Delete ends the subscription; its open deliveries are cancelled.
func (s *Service) Delete(ctx context.Context, lane dispatch.Lane, version int64, by Actor) error {
	_, err := s.change(ctx, lane, version, by, func(_ context.Context, now subscription.Subscription) ([]subscription.Change, error) {
		return now.Delete(s.Now())
	})
	return err
}

// RotateSecret makes a new secret current and returns it, once; the old one stays valid for the overlap.
func (s *Service) RotateSecret(ctx context.Context, lane dispatch.Lane, version int64, overlap time.Duration, by Actor) (subscription.Subscription, secret.Secret, error) {
	signing, secretID := s.NewSecret(), s.NewID("sec_")
	after, err := s.change(ctx, lane, version, by, func(ctx context.Context, now subscription.Subscription) ([]subscription.Change, error) {
		changes, err := now.RotateSecret(secretID, overlap, s.Now())
		if err != nil {
			return nil, err
		}
		return changes, s.Store.SaveSecret(ctx, lane, secretID, signing, s.Now())
	})
	return after, signing, err
}

// CompleteRotation ends the old secret.
func (s *Service) CompleteRotation(ctx context.Context, lane dispatch.Lane, version int64, by Actor) (subscription.Subscription, error) {
	return s.change(ctx, lane, version, by, func(_ context.Context, now subscription.Subscription) ([]subscription.Change, error) {
		return now.CompleteRotation(s.Now())
	})
}

// Disable takes the subscription out of service because of what url answered, and returns it as it is then; nil when it was
// disabled already, is gone, or has moved to another URL.
func (s *Service) Disable(ctx context.Context, lane dispatch.Lane, url, reason string) (*subscription.Subscription, error) {
	var changes []subscription.Change
	after, err := s.change(ctx, lane, AnyVersion, Actor{KeyName: "service"}, func(_ context.Context, now subscription.Subscription) ([]subscription.Change, error) {
		if changes = nil; now.URL == url {
			changes = now.Disable(reason, s.Now())
		}
		return changes, nil
	})
	switch {
	case problem.Is(err, problem.NotFound):
		return nil, nil
	case err != nil || len(changes) == 0:
		return nil, err
	default:
		return &after, nil
	}
}
