// Package subscriptions is what tenant admins do to their subscriptions.
package subscriptions

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Store keeps the streams of subscriptions. A context from InTx carries its transaction.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// CurrentSubscription is the state that the last change left, which AppendSubscription wrote with it: as long as its stream is,
	// reading it takes no longer. problem.NotFound when there is none, dispatch.ErrUnreadable when state and stream are damaged.
	CurrentSubscription(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
	// SubscriptionToChange is CurrentSubscription, and nobody else changes it until the transaction ends.
	SubscriptionToChange(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error)
	// AppendSubscription appends the changes, with the state they lead to, and notes the sweep they ask for; ErrMoved when the
	// stream has moved past before's version.
	AppendSubscription(ctx context.Context, before, after subscription.Subscription, changes []subscription.Change, by Actor) error
	// CountSubscriptions counts those that are not deleted. Within a transaction nobody else creates any of the tenant's until
	// the end.
	CountSubscriptions(ctx context.Context, owner tenant.ID) (int, error)
	// SaveSecret keeps a signing secret, sealed.
	SaveSecret(ctx context.Context, lane dispatch.Lane, secretID string, s secret.Secret, now time.Time) error
}

// ErrMoved refuses a change to what somebody else has changed meanwhile.
var ErrMoved = problem.New(problem.Conflict, "The subscription was changed by somebody else; read it again.")

// Gate asks whether a tenant has booked a feature.
type Gate interface {
	Enabled(ctx context.Context, id tenant.ID, feature tenant.Feature) (bool, error)
}

// URLGuard knows which URLs may be called.
type URLGuard interface {
	// CheckURL refuses a URL that may not be called, and returns the others with a canonical host.
	CheckURL(raw string) (canonical string, err error)
}

// Actor is who asked for a change; it goes into the record's metadata.
type Actor struct {
	KeyID       string
	KeyName     string
	TraceParent string
}

// MaxPerTenant is the highest quota of subscriptions that can be set; it bounds lists of a tenant's subscriptions.
const MaxPerTenant = 10_000

// Service changes subscriptions.
type Service struct {
	Store Store
	Gate  Gate
	URLs  URLGuard
	Now   func() time.Time
	NewID func(prefix string) string
	// NewSecret makes a signing secret of fresh randomness.
	NewSecret func() secret.Secret
	// DefaultSchedule is used by subscriptions that set none.
	DefaultSchedule []time.Duration
	// Quota is how many subscriptions a tenant may have, 1 to MaxPerTenant; 0 means MaxPerTenant.
	Quota int
}

// Decision is a further decision in the same transaction as a change, so that nothing is done by halves; what comes before a
// transaction (see canonicalURL) stays outside of it.
type Decision func(now subscription.Subscription, at time.Time) ([]subscription.Change, error)

// Checked is the valid settings of a new subscription, with a URL that may be called.
type Checked struct{ settings subscription.Settings }

// Check is the part of Create that comes before any transaction; see canonicalURL.
func (s *Service) Check(settings subscription.Settings) (Checked, error) {
	ownSchedule := settings.RetrySchedule != nil
	if !ownSchedule {
		settings.RetrySchedule = s.DefaultSchedule
	}
	canonical, refusal := s.canonicalURL(settings.URL)
	if err := s.check(settings, ownSchedule, refusal); err != nil {
		return Checked{}, err
	}
	settings.URL = canonical
	return Checked{settings}, nil
}

// Create begins a subscription and returns it with its secret, which is not shown again. It may be part of a transaction.
func (s *Service) Create(ctx context.Context, owner tenant.ID, checked Checked, by Actor, then ...Decision) (subscription.Subscription, secret.Secret, error) {
	settings := checked.settings
	signing, secretID := s.NewSecret(), s.NewID("sec_")
	changes := subscription.Create(s.NewID("sub_"), owner, settings, secretID, s.Now())
	created, err := subscription.Fold(changes)
	if err == nil {
		changes, err = s.goOn(&created, changes, then)
	}
	if err != nil {
		return subscription.Subscription{}, secret.Secret{}, err
	}
	err = s.Store.InTx(ctx, func(ctx context.Context) error {
		if err := s.mayCreate(ctx, owner, settings); err != nil {
			return err
		}
		if err := s.Store.SaveSecret(ctx, dispatch.LaneOfSubscription(&created), secretID, signing, s.Now()); err != nil {
			return err
		}
		return s.Store.AppendSubscription(ctx, subscription.Subscription{}, created, changes, by)
	})
	if err != nil {
		return subscription.Subscription{}, secret.Secret{}, fmt.Errorf("create a subscription: %w", err)
	}
	return created, signing, nil
}

// goOn adds what is decided after the changes; now becomes the subscription that all of them lead to.
func (s *Service) goOn(now *subscription.Subscription, changes []subscription.Change, then []Decision) ([]subscription.Change, error) {
	for _, decide := range then {
		more, err := decide(*now, s.Now())
		if err != nil {
			return nil, err
		}
		if err := applyAll(now, more); err != nil {
			return nil, err
		}
		changes = append(changes, more...)
	}
	return changes, nil
}

func applyAll(to *subscription.Subscription, changes []subscription.Change) error {
	for _, c := range changes {
		if err := to.Apply(c); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) mayCreate(ctx context.Context, owner tenant.ID, settings subscription.Settings) error {
	if settings.NeedsBilling(subscription.Settings{}) {
		if err := s.mustHaveFeature(ctx, owner); err != nil {
			return err
		}
	}
	count, err := s.Store.CountSubscriptions(ctx, owner)
	if err != nil {
		return err
	}
	if quota := cmp.Or(s.Quota, MaxPerTenant); count >= quota {
		return problem.New(problem.Forbidden, "The tenant has %d subscriptions, and may have %d: delete one that is not needed.", count, quota)
	}
	return nil
}

// check validates the settings; refusal is what the URL guard said of their URL.
func (s *Service) check(settings subscription.Settings, ownSchedule bool, refusal error) error {
	fields := problem.Collect("")
	settings.Validate(fields, ownSchedule)
	if refusal != nil {
		fields.Add("url", "%s", refusal)
	}
	return fields.Err()
}

// canonicalURL asks the guard, which may look the host up: not for use inside a transaction. What
// Validate refuses anyway is not looked up.
func (s *Service) canonicalURL(raw string) (string, error) {
	if raw == "" || len(raw) > subscription.MaxURLLength {
		return raw, nil
	}
	return s.URLs.CheckURL(raw)
}

func (s *Service) mustHaveFeature(ctx context.Context, owner tenant.ID) error {
	has, err := s.Gate.Enabled(ctx, owner, tenant.BillingWebhooks)
	if err != nil {
		return err
	}
	if !has {
		return problem.New(problem.FeatureNotEnabled, "Billing events and billing details need the feature %s, which the tenant does not have.", tenant.BillingWebhooks)
	}
	return nil
}

// NoBilling refuses to send a billing event to a tenant without the feature.
func NoBilling() error {
	return problem.New(problem.FeatureNotEnabled, "Billing events need the feature %s, which the tenant does not have.", tenant.BillingWebhooks)
}

// Get is the subscription as it is now; problem.NotFound when it is not there or was deleted.
func (s *Service) Get(ctx context.Context, lane dispatch.Lane) (subscription.Subscription, error) {
	got, err := s.Store.CurrentSubscription(ctx, lane)
	return got, cmp.Or(err, got.MustExist())
}

// AnyVersion is for changes that hold whatever was changed before.
const AnyVersion = 0

// change loads, decides and appends in one transaction. With a version other than
// AnyVersion it refuses when the stream has moved on (If-Match).
func (s *Service) change(ctx context.Context, lane dispatch.Lane, version int64, by Actor,
	decide func(ctx context.Context, now subscription.Subscription) ([]subscription.Change, error), then ...Decision) (after subscription.Subscription, err error) {
	err = s.Store.InTx(ctx, func(ctx context.Context) error {
		before, err := s.Store.SubscriptionToChange(ctx, lane)
		if err := cmp.Or(err, before.MustExist()); err != nil {
			return err
		}
		if version != AnyVersion && version != before.Version {
			return problem.New(problem.Conflict, "The subscription is at version %d, which is not the one that the change is meant for: read it again.", before.Version)
		}
		changes, err := decide(ctx, before)
		if err != nil {
			return err
		}
		after = before
		if err := applyAll(&after, changes); err != nil {
			return err
		}
		if changes, err = s.goOn(&after, changes, then); err != nil {
			return err
		}
		if len(changes) == 0 {
			return nil
		}
		return s.Store.AppendSubscription(ctx, before, after, changes, by)
	})
	return after, err
}
