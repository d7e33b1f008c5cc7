package rest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"reflect"

	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/application/idempotency"
)

// once makes a write that must not happen twice. With an Idempotency-Key the answer is kept in the write's own transaction: whenever the
// process dies, a repeated request gets it, and a request that was given up is not carried out late. do runs in a transaction, so it must
// not use the network or read for long.
func once[O any](ctx context.Context, a *API, status int, do func(ctx context.Context) (*O, error)) (out *O, err error) {
	r := recordFrom(ctx)
	if r.reservation == nil {
		return do(ctx)
	}
	err = a.Subscriptions.Store.InTx(ctx, func(ctx context.Context) (err error) {
		if out, err = do(ctx); err != nil {
			return err
		}
		answer, err := a.answerOf(status, out)
		if err != nil {
			return err
		}
		return a.Idempotency.Keep(ctx, r.reservation, answer)
	})
	if err != nil {
		return nil, err
	}
	r.kept = true
	return out, nil
}

// answerOf is the output as huma will write it.
func (a *API) answerOf(status int, out any) (*idempotency.Answer, error) {
	answer := &idempotency.Answer{Status: status, Header: map[string]string{}}
	value := reflect.ValueOf(out).Elem()
	for _, field := range reflect.VisibleFields(value.Type()) {
		if name := field.Tag.Get("header"); name != "" {
			answer.Header[name] = value.FieldByIndex(field.Index).String()
		}
	}
	if status == http.StatusNoContent {
		return answer, nil
	}
	answer.Header[fiber.HeaderContentType] = contentTypeJSON
	var body bytes.Buffer
	if err := a.huma.Marshal(&body, contentTypeJSON, value.FieldByName("Body").Interface()); err != nil {
		return nil, fmt.Errorf("encode an answer: %w", err)
	}
	answer.Body = body.Bytes()
	return answer, nil
}
