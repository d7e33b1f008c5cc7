package rest

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/share"
	"github.com/ordinavo/webhooks/domain/problem"
)

const (
	headerIdempotencyKey = "Idempotency-Key"
	headerReplayed       = "Idempotency-Replayed"
)

// keepTimeout is how long keeping an answer may take; the request's own deadline may be over by then.
const keepTimeout = 5 * time.Second

// replayedHeaders are those of an answer's headers that are kept with it.
func replayedHeaders() []string {
	return []string{fiber.HeaderContentType, fiber.HeaderETag, fiber.HeaderLocation}
}

// idempotent gives a repeated write the answer of the first. It runs after the API key is checked, so that whoever may not call the route
// gets no kept answer either.
func (a *API) idempotent(ctx huma.Context, next func(huma.Context)) {
	c := humafiber.Unwrap(ctx)
	keys := c.Request().Header.PeekAll(headerIdempotencyKey)
	if len(keys) == 0 {
		next(ctx)
		return
	}
	if len(keys) > 1 || !validIdempotencyKey(keys[0]) {
		a.refuse(ctx, problem.Invalid(headerIdempotencyKey, "must be one text of 1 to %d printable ASCII characters", idempotency.MaxKeyLength))
		return
	}
	reservation, answer, err := a.Idempotency.Begin(ctx.Context(), a.writeOf(ctx.Context(), c, string(keys[0])))
	switch {
	case err != nil:
		if problem.Is(err, problem.Conflict) {
			c.Set(fiber.HeaderRetryAfter, "1")
		}
		a.refuse(ctx, err)
	case answer != nil:
		replay(c, answer)
	default:
		a.answerOnce(ctx, c, reservation, next)
	}
}

func validIdempotencyKey(key []byte) bool {
	if len(key) < 1 || len(key) > idempotency.MaxKeyLength {
		return false
	}
	for _, b := range key {
		if b < ' ' || b > '~' {
			return false
		}
	}
	return true
}

func (a *API) writeOf(ctx context.Context, c *fiber.Ctx, key string) idempotency.Request {
	condition, _ := conditionOf(c)
	return idempotency.Request{
		Caller: callerOf(ctx).ID, Tenant: cmp.Or(string(ownerOf(ctx)), c.Get(headerTenant)), Method: c.Method(), Path: c.Path(),
		Query: string(c.Request().URI().QueryString()), Key: key, Condition: condition, Body: c.Request().Body(),
	}
}

// answerOnce works on a reserved request and keeps its answer, or frees the key when there is none.
func (a *API) answerOnce(ctx huma.Context, c *fiber.Ctx, reservation *idempotency.Reservation, next func(huma.Context)) {
	var answer *idempotency.Answer // stays nil when the handler panics
	r := recordFrom(ctx.Context())
	defer func() {
		if r.kept {
			return
		}
		keep, cancel := context.WithTimeout(share.Own(context.WithoutCancel(ctx.Context())), keepTimeout)
		defer cancel()
		if err := a.Idempotency.Finish(keep, reservation, answer); err != nil {
			a.Log.ErrorContext(keep, "an idempotent answer was given but not kept", slog.Any("error", err))
		}
	}()
	r.reservation = reservation
	next(ctx)
	if !r.changedNothing {
		answer = captured(c)
	}
}

func captured(c *fiber.Ctx) *idempotency.Answer {
	answer := &idempotency.Answer{Status: c.Response().StatusCode(), Header: map[string]string{}, Body: c.Response().Body()}
	for _, name := range replayedHeaders() {
		if value := c.GetRespHeader(name); value != "" {
			answer.Header[name] = value
		}
	}
	return answer
}

func replay(c *fiber.Ctx, answer *idempotency.Answer) {
	for name, value := range answer.Header {
		c.Set(name, value)
	}
	c.Set(headerReplayed, "true")
	c.Status(answer.Status)
	if answer.Status != http.StatusNoContent {
		c.Response().SetBody(answer.Body)
	}
}
