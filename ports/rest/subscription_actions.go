package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// Pause says why.
type Pause struct {
	Reason string `json:"reason,omitempty" maxLength:"200" doc:"Shown as statusReason."`
}

// Resume says what becomes of what was parked.
type Resume struct {
	SkipParked bool `json:"skipParked,omitempty" doc:"Cancels what was parked; else it is sent, in order."`
}

// Rotation says for how long the old secret stays valid.
type Rotation struct {
	OverlapHours *int `json:"overlapHours,omitempty" minimum:"0" maximum:"168" doc:"Default 24."`
}

// rotateDescription says when to switch a receiver: one that checks the first header and switched at once would refuse everything until the overlap ends.
const rotateDescription = `The answer has the new secret, which is not shown again. Until the overlap ends or POST /v1/subscriptions/{subscriptionId}/rotate-secret/complete ends it,
webhook-signature has a signature of each secret, so that a receiver that checks it may switch at any time. X-Ordinavo-Signature has room for one, and is made with the
old secret until then: let a receiver that checks it take both secrets, or switch when the rotation is completed. With overlapHours 0 the old secret ends at once.
409 says that a rotation is under way.`

// pauseDescription says what a pause costs: one that was forgotten had all of its tenant's events refused in the end.
const pauseDescription = `Pausing what is paused changes nothing. 409 while what a resume skips is not all cancelled yet; nothing is sent meanwhile.
What is parked is kept whatever its age, and counts among the deliveries that a tenant may have unfinished: once these are too many, all of its events are
refused with 429, until the subscription is resumed, with skipParked if need be, or deleted.`

const resumeDescription = `Also brings back what the service disabled. What was given up before that stays so: POST /v1/deliveries/retry with the subscriptionId sends it again.`

// TestRequest says what to send.
type TestRequest struct {
	EventType string `json:"eventType,omitempty" maxLength:"100" doc:"Default: the first type that the subscription wants." example:"visit_report.approved"`
}

type pauseInput struct {
	SubscriptionRef
	Condition
	Body *Pause
}

type resumeInput struct {
	SubscriptionRef
	Condition
	Body *Resume
}

type rotateInput struct {
	SubscriptionRef
	Condition
	Body *Rotation
}

type testInput struct {
	SubscriptionRef
	Body *TestRequest
}

// TestResult is what was sent and what came of it.
type TestResult struct {
	EventID    string          `json:"eventId"`
	DeliveryID string          `json:"deliveryId"`
	Request    DeliveryRequest `json:"request"`
	Attempt
}

// TestOutput is a TestResult as an answer.
type TestOutput struct{ Body TestResult }

func (a *API) routeSubscriptionActions(one string) {
	action := func(id, path, summary, description string, example any) operation {
		return operation{id: id, method: http.MethodPost, path: one + path, tag: tagSubscriptions, scope: access.WebhooksManage, perTenant: true, forBound: true,
			statuses: []int{http.StatusNotFound}, summary: summary, description: description, example: example}
	}
	register(a, action("pauseSubscription", "/pause", "Pause: park what comes", pauseDescription, map[string]any{"reason": "maintenance"}), a.pause)
	register(a, action("resumeSubscription", "/resume", "Resume: send what is parked, and what comes", resumeDescription, map[string]any{"skipParked": false}), a.resume)
	register(a, action("rotateSecret", "/rotate-secret", "Make a new secret", rotateDescription, map[string]any{"overlapHours": 24}), a.rotateSecret)
	register(a, action("completeRotation", "/rotate-secret/complete", "End the old secret",
		"From then on X-Ordinavo-Signature is made with the new secret, and webhook-signature has its signature alone. Without a rotation under way nothing changes.", nil), a.completeRotation)
	register(a, action("testSubscription", "/test", "Send a signed sample", fmt.Sprintf("Sends for real, once, with the header X-Ordinavo-Test, and answers with the exchange, which GET /v1/deliveries/{deliveryId} shows again. It is in no list and has no accepted event. 429 says that %d of the tenant's wait for an answer already.", subscriptions.MaxTests),
		map[string]any{"eventType": "visit_report.approved"}), a.test)
}

func (a *API) pause(ctx context.Context, in *pauseInput) (*SubscriptionOutput, error) {
	l, version, err := a.target(ctx, in.SubscriptionRef, in.Condition)
	if err != nil {
		return nil, err
	}
	reason := ""
	if in.Body != nil {
		reason = in.Body.Reason
	}
	if !cleanText(reason) {
		return nil, problem.Invalid("reason", "has a control character")
	}
	return a.changeOnce(ctx, func(ctx context.Context) (subscription.Subscription, error) {
		return a.Subscriptions.Pause(ctx, l, version, reason, a.actor(ctx))
	})
}

func (a *API) resume(ctx context.Context, in *resumeInput) (*SubscriptionOutput, error) {
	l, version, err := a.target(ctx, in.SubscriptionRef, in.Condition)
	if err != nil {
		return nil, err
	}
	skip := in.Body != nil && in.Body.SkipParked
	return a.changeOnce(ctx, func(ctx context.Context) (subscription.Subscription, error) {
		return a.Subscriptions.Resume(ctx, l, version, skip, a.actor(ctx))
	})
}

func (a *API) rotateSecret(ctx context.Context, in *rotateInput) (*SecretOutput, error) {
	l, version, err := a.target(ctx, in.SubscriptionRef, in.Condition)
	if err != nil {
		return nil, err
	}
	return once(ctx, a, http.StatusOK, func(ctx context.Context) (*SecretOutput, error) {
		after, secret, err := a.Subscriptions.RotateSecret(ctx, l, version, overlapOf(in.Body), a.actor(ctx))
		if err != nil {
			return nil, err
		}
		return &SecretOutput{ETag: etag(after.Version), Body: SubscriptionWithSecret{viewSubscription(after, a.Now()), secret.Reveal()}}, nil
	})
}

func (a *API) completeRotation(ctx context.Context, in *changeInput) (*SubscriptionOutput, error) {
	l, version, err := a.target(ctx, in.SubscriptionRef, in.Condition)
	if err != nil {
		return nil, err
	}
	return a.changeOnce(ctx, func(ctx context.Context) (subscription.Subscription, error) {
		return a.Subscriptions.CompleteRotation(ctx, l, version, a.actor(ctx))
	})
}

func (a *API) test(ctx context.Context, in *testInput) (*TestOutput, error) {
	l, err := lane(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	wanted, err := a.Subscriptions.Get(ctx, l)
	if err != nil {
		return nil, err
	}
	eventType := firstWanted(wanted)
	if in.Body != nil && in.Body.EventType != "" {
		eventType = event.Type(in.Body.EventType)
	}
	if err := checkEventType(string(eventType)); err != nil {
		return nil, err
	}
	exchange, err := a.Tester.Test(ctx, l, eventType, a.actor(ctx))
	if err != nil {
		return nil, err
	}
	return &TestOutput{viewExchange(exchange)}, nil
}

func firstWanted(s subscription.Subscription) event.Type {
	for _, t := range event.AllTypes() {
		if s.EventTypes.Matches(t) {
			return t
		}
	}
	return event.VisitReportApproved
}

// noDelivery is the answer for a delivery that is not there, and for one that the caller may not see.
func noDelivery() error { return problem.New(problem.NotFound, "There is no such delivery.") }
