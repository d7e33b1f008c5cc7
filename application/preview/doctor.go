package preview

import (
	"context"
	"fmt"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Doctor finds out what is wrong with a signature that a receiver refused.
type Doctor struct {
	Service *subscriptions.Service
	Secrets dispatch.Secrets

	underway subscriptions.Underway
}

// Complaint is a request as its receiver saw it.
type Complaint struct {
	Headers map[string]string
	Body    []byte
	// Secret is the receiver's, as it keeps it; empty when it is not given.
	Secret string
	// Lane is the subscription's; without an ID the subscription is unknown.
	Lane       dispatch.Lane
	ReceivedAt time.Time // zero when unknown
}

// Examine fails with problem.NotFound when there is no such subscription.
func (d *Doctor) Examine(ctx context.Context, c Complaint) ([]signature.Finding, error) {
	now := d.Service.Now()
	received := signature.Received{Headers: c.Headers, Body: c.Body, At: c.ReceivedAt}
	if c.ReceivedAt.IsZero() {
		received.At, received.AtAssumed = now, true
	}
	if c.Lane.SubscriptionID != "" {
		known, err := d.known(ctx, c.Lane, now)
		if err != nil {
			return nil, err
		}
		received.Secrets = known
	}
	var findings []signature.Finding
	if c.Secret != "" {
		var given secret.Secret
		given, findings = signature.ReadSecret(c.Secret)
		received.Secrets = withGiven(received.Secrets, given)
	}
	if len(received.Secrets) == 0 && len(findings) > 0 {
		// The secret was given but cannot be read. That is reported already, and the headers are still worth a look.
		findings = append(findings, withoutCode(signature.Diagnose(received), signature.CodeSecretMissing)...)
		return findings, nil
	}
	return append(findings, signature.Diagnose(received)...), nil
}

func withoutCode(findings []signature.Finding, code signature.Code) (left []signature.Finding) {
	for _, f := range findings {
		if f.Code != code {
			left = append(left, f)
		}
	}
	return left
}

// known opens the subscription's secrets that the service still has.
func (d *Doctor) known(ctx context.Context, lane dispatch.Lane, now time.Time) ([]signature.Known, error) {
	sub, err := d.Service.Get(ctx, lane)
	if err != nil {
		return nil, err
	}
	var list []signature.Known
	for _, k := range roles(sub.Secrets, now) {
		if k.Secret, err = d.Secrets.OpenSecret(ctx, lane.Tenant, sub.ID, k.id); err != nil {
			return nil, fmt.Errorf("open a secret of %s: %w", sub.ID, err)
		}
		list = append(list, k.Known)
	}
	return list, nil
}

type namedSecret struct {
	signature.Known
	id string
}

func roles(s subscription.Secrets, now time.Time) []namedSecret {
	list := []namedSecret{{signature.Known{Role: signature.RoleCurrent, Held: true}, s.Current}}
	if s.Previous == "" {
		return list
	}
	role := signature.RoleEnded
	if s.Rotating(now) {
		role = signature.RolePrevious
	}
	return append(list, namedSecret{signature.Known{Role: role, Held: true, Until: s.OverlapEnd}, s.Previous})
}

// withGiven marks the given secret as the only known one that the receiver has.
func withGiven(known []signature.Known, given secret.Secret) []signature.Known {
	if given.IsZero() {
		return known
	}
	found := false
	for i := range known {
		known[i].Held = known[i].Secret.Equal(given)
		found = found || known[i].Held
	}
	if !found {
		known = append(known, signature.Known{Secret: given, Role: signature.RoleGiven, Held: true})
	}
	return known
}
