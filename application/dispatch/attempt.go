package dispatch

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/signature"
)

// Attempter makes one attempt: sign with a fresh time and the live secrets, send, report. It holds no transaction and keeps
// nothing.
type Attempter struct {
	Sender    Sender
	Secrets   Secrets
	Observer  Observer
	Now       func() time.Time
	UserAgent string
	// Trouble hears why a request could not be signed, that it is Exhausted, or of a Panic, which only the operator may know; nil for nobody.
	Trouble func(ctx context.Context, l Leased, err error)
}

// Attempt sends one leased delivery and returns the outcome. It fails, and nothing was sent, when the secrets cannot be read for now
// (problem.Unavailable), ctx ended before they were, they were deleted meanwhile, or this process is Exhausted (with the outcome, for whoever
// asked for a test): that is no fault of the receiver's, and to be no attempt of its schedule.
func (a *Attempter) Attempt(ctx context.Context, l Leased) (delivery.Outcome, error) {
	var by signers
	var unsigned error
	if l.Unreadable == nil {
		by, unsigned = a.freshSigners(ctx, l)
		if unsigned != nil && ctx.Err() != nil || errors.Is(unsigned, ErrDeleted) {
			return delivery.Outcome{}, fmt.Errorf("begin an attempt: %w", unsigned)
		}
		if problem.Is(unsigned, problem.Unavailable) {
			a.trouble(ctx, l, unsigned)
			return delivery.Outcome{}, fmt.Errorf("begin an attempt: %w", unsigned)
		}
	}
	ctx, span := a.Observer.AttemptStarted(ctx, l, l.Delivery.Attempts+1)
	var exhausted error
	outcome := a.send(ctx, l, span, by, unsigned, func(by error) { exhausted = Exhausted{by} })
	outcome.TraceID = span.TraceID
	if exhausted != nil {
		span.NotMade(outcome)
		a.trouble(ctx, l, exhausted)
		return outcome, exhausted
	}
	span.End(observed(ctx, l, outcome))
	return outcome, nil
}

// observed is what the span says: what failed as this process ended says nothing of the receiver, and its delivery will have it as a lease
// that expired.
func observed(ctx context.Context, l Leased, outcome delivery.Outcome) delivery.Outcome {
	if l.Test || ctx.Err() == nil || outcome.Succeeded() {
		return outcome
	}
	return delivery.Outcome{Kind: delivery.KindLeaseExpired, StartedAt: outcome.StartedAt, Duration: outcome.Duration, TraceID: outcome.TraceID}
}

// Exhausted says that this process, or its machine, has nothing left to connect with.
type Exhausted struct{ By error }

// Error is for the operator: it names addresses.
func (e Exhausted) Error() string { return e.By.Error() }

// send turns a panic into an outcome, with which the attempt's span can end.
func (a *Attempter) send(ctx context.Context, l Leased, span AttemptSpan, by signers, unsigned error, exhausted func(error)) (outcome delivery.Outcome) {
	began := a.Now()
	defer func() {
		if value := recover(); value != nil {
			outcome = a.Panicked(ctx, l, began, value)
		}
	}()
	switch {
	case l.Unreadable != nil:
		return delivery.Outcome{Kind: delivery.KindConnectionLost, StartedAt: began, Error: "nothing could be sent: " + l.Unreadable.Error()}
	case unsigned != nil:
		// Nothing left the house; the retry schedule gives the operator time to mend it. Tenants see the outcome, so the error
		// stays out of it: it may name the database's host and user.
		a.trouble(ctx, l, unsigned)
		return Unsigned(began)
	}
	return a.Sender.Send(ctx, Request{
		Tenant: l.Delivery.Tenant, URL: l.Subscription.URL, Headers: a.headers(l, span.TraceParent, by), Body: l.Body, Timeout: l.Subscription.Timeout,
		Exhausted: exhausted,
	})
}

func (a *Attempter) trouble(ctx context.Context, l Leased, err error) {
	if a.Trouble != nil {
		a.Trouble(ctx, l, err)
	}
}

// Panic is what an attempt panicked with, and where.
type Panic struct {
	Value any
	Stack []byte
}

// Error leaves out the stack.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Panicked is the outcome of an attempt that panicked with the value; call it where that was recovered. Tenants see the outcome, which
// says no more than who is to blame.
func (a *Attempter) Panicked(ctx context.Context, l Leased, began time.Time, value any) delivery.Outcome {
	a.trouble(ctx, l, &Panic{value, debug.Stack()})
	return delivery.Outcome{Kind: delivery.KindConnectionLost, StartedAt: began, Duration: max(0, a.Now().Sub(began)), Error: "the attempt failed inside the service"}
}

// Unsigned is the outcome of what could not be signed.
func Unsigned(at time.Time) delivery.Outcome {
	return delivery.Outcome{Kind: delivery.KindConnectionLost, StartedAt: at, Error: "the request could not be signed"}
}

// HeaderTest marks a sample, or its receiver would take it for something that happened.
const HeaderTest = "X-Ordinavo-Test"

// Headers builds the headers of the contract's section 4.
func (a *Attempter) Headers(ctx context.Context, l Leased, now time.Time, traceParent string) (map[string]string, error) {
	by, err := a.signers(ctx, l, now)
	if err != nil {
		return nil, err
	}
	return a.headers(l, traceParent, by), nil
}

func (a *Attempter) headers(l Leased, traceParent string, by signers) map[string]string {
	signatures := signature.Sign(l.Body, by.at, l.Delivery.EventID, by.body, by.standard...)
	headers := map[string]string{
		"Content-Type":               "application/json",
		"User-Agent":                 a.UserAgent,
		"X-Ordinavo-Event-Id":        l.Delivery.EventID,
		"X-Ordinavo-Event-Type":      string(l.Delivery.EventType),
		"X-Ordinavo-Delivery-Id":     l.Delivery.ID,
		"X-Ordinavo-Timestamp":       by.at.UTC().Format(time.RFC3339),
		"X-Ordinavo-Signature":       signatures.Body,
		"X-Ordinavo-Webhook-Version": "v1",
		"webhook-id":                 l.Delivery.EventID,
		"webhook-timestamp":          signatures.Timestamp,
		"webhook-signature":          signatures.Standard,
	}
	if l.Test {
		headers[HeaderTest] = "true"
	}
	if traceParent != "" {
		headers["traceparent"] = traceParent
	}
	return headers
}

// signers is the secrets that are valid at one time and sign a request then: the one for the header that has room for one, and all for the other.
type signers struct {
	at       time.Time
	body     secret.Secret
	standard []secret.Secret
}

// freshSigners opens the secrets that are valid once they are open: an overlap may end while a slow database is read, and what ended may be
// there no more.
func (a *Attempter) freshSigners(ctx context.Context, l Leased) (signers, error) {
	for at := a.Now(); ; {
		by, err := a.signers(ctx, l, at)
		now := a.Now()
		if l.Subscription.Secrets.Rotating(now) == l.Subscription.Secrets.Rotating(at) {
			by.at = now
			return by, err
		}
		at = now
	}
}

// signers opens the secrets that are valid now.
func (a *Attempter) signers(ctx context.Context, l Leased, now time.Time) (by signers, err error) {
	owner, s := l.Delivery.Tenant, l.Subscription
	by.at = now
	if by.body, err = a.Secrets.OpenSecret(ctx, owner, s.ID, s.Secrets.ForBody(now)); err != nil {
		return signers{}, err
	}
	for _, id := range s.Secrets.ForStandard(now) {
		opened, err := a.Secrets.OpenSecret(ctx, owner, s.ID, id)
		if err != nil {
			return signers{}, err
		}
		by.standard = append(by.standard, opened)
	}
	return by, nil
}
