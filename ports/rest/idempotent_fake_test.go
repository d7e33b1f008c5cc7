package rest_test

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
)

func (f *fake) Reserve(_ context.Context, r idempotency.Reservation, takeOver time.Time) (*idempotency.Found, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found, ok := f.answers[r.Key]
	if ok && found.ExpiresAt.After(r.ReservedAt) && (found.sealed != nil || found.ReservedAt.After(takeOver)) {
		return &idempotency.Found{Fingerprint: found.Fingerprint, Sealed: found.sealed}, nil
	}
	f.answers[r.Key] = row{Reservation: r}
	return nil, nil
}

func (f *fake) Answer(_ context.Context, key idempotency.Key, token string, sealed []byte) (held bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answered++
	found := f.answers[key]
	if held = found.Token == token && found.sealed == nil; held {
		found.sealed = sealed
		f.answers[key] = found
	}
	return held, nil
}

func (f *fake) Release(_ context.Context, key idempotency.Key, token string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if found := f.answers[key]; found.Token == token && found.sealed == nil {
		delete(f.answers, key)
	}
	return nil
}

func (f *fake) DeleteExpired(context.Context, time.Time, int) (int, error) { return 0, nil }

func (f *fake) Accept(ctx context.Context, events []event.Event, traceParent string, keep intake.Keep) ([]intake.Result, error) {
	if f.late != nil { // the request is given up while its events wait
		late := f.late
		f.late = nil
		late <- func() error { return keep(ctx, []intake.Result{{EventID: "evt_late"}}) }
		return nil, context.DeadlineExceeded
	}
	results, err := f.accept(events, traceParent)
	if err == nil && keep != nil {
		err = keep(ctx, results)
	}
	if f.dies {
		panic("the process dies before anybody is told")
	}
	return results, err
}
