package dispatch

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Attempter makes one attempt: sign with a fresh time and the live secrets, send, report. It holds no transaction and keeps
// nothing.
type Attempter struct {
	Sender    Sender
	Secrets   Secrets
	Observer  Observer
	Now       func() time.Time
	UserAgent string
	// Trouble hears why a request could not be signed, which only the operator may know; nil for nobody.
	Trouble func(ctx context.Context, l Leased, err error)
}

// Attempt sends one leased delivery and returns the outcome.
func (a *Attempter) Attempt(ctx context.Context, l Leased) delivery.Outcome {
	ctx, span := a.Observer.AttemptStarted(ctx, l, l.Delivery.Attempts+1)
	outcome := a.send(ctx, l, span)
	outcome.TraceID = span.TraceID
	span.End(outcome)
	return outcome
}

func (a *Attempter) send(ctx context.Context, l Leased, span AttemptSpan) delivery.Outcome {
	now := a.Now()
	if l.Unreadable != nil {
		return delivery.Outcome{Kind: delivery.KindConnectionLost, StartedAt: now, Error: "nothing could be sent: " + l.Unreadable.Error()}
	}
	headers, err := a.Headers(ctx, l, now, span.TraceParent)
	if err != nil {
		// Nothing left the house; the retry schedule gives the operator time to mend it. Tenants see the outcome, so the error
		// stays out of it: it may name the database's host and user.
		if a.Trouble != nil {
			a.Trouble(ctx, l, err)
		}
		return delivery.Outcome{Kind: delivery.KindConnectionLost, StartedAt: now, Error: "the request could not be signed"}
	}
	return a.Sender.Send(ctx, Request{
		Tenant: l.Delivery.Tenant, URL: l.Subscription.URL, Headers: headers, Body: l.Body, Timeout: l.Subscription.Timeout,
	})
}

// Headers builds the headers of the contract's section 4.
func (a *Attempter) Headers(ctx context.Context, l Leased, now time.Time, traceParent string) (map[string]string, error) {
	forBody, standard, err := a.signingSecrets(ctx, l.Delivery.Tenant, l.Subscription, now)
	if err != nil {
		return nil, err
	}
	signatures := signature.Sign(l.Body, now, l.Delivery.EventID, forBody, standard...)
	headers := map[string]string{
		"Content-Type":               "application/json",
		"User-Agent":                 a.UserAgent,
		"X-Ordinavo-Event-Id":        l.Delivery.EventID,
		"X-Ordinavo-Event-Type":      string(l.Delivery.EventType),
		"X-Ordinavo-Delivery-Id":     l.Delivery.ID,
		"X-Ordinavo-Timestamp":       now.UTC().Format(time.RFC3339),
		"X-Ordinavo-Signature":       signatures.Body,
		"X-Ordinavo-Webhook-Version": "v1",
		"webhook-id":                 l.Delivery.EventID,
		"webhook-timestamp":          signatures.Timestamp,
		"webhook-signature":          signatures.Standard,
	}
	if l.Test {
		headers["X-Ordinavo-Test"] = "true"
	}
	if traceParent != "" {
		headers["traceparent"] = traceParent
	}
	return headers, nil
}

// signingSecrets opens the secrets that are valid now: for the header that has room for one, and all.
func (a *Attempter) signingSecrets(ctx context.Context, owner tenant.ID, s *subscription.Subscription, now time.Time) (forBody secret.Secret, all []secret.Secret, err error) {
	if forBody, err = a.Secrets.OpenSecret(ctx, owner, s.ID, s.Secrets.ForBody(now)); err != nil {
		return forBody, nil, err
	}
	for _, id := range s.Secrets.ForStandard(now) {
		opened, err := a.Secrets.OpenSecret(ctx, owner, s.ID, id)
		if err != nil {
			return forBody, nil, err
		}
		all = append(all, opened)
	}
	return forBody, all, nil
}
