package rest_test

import (
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
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

func (f *fake) Answer(_ context.Context, key idempotency.Key, token string, sealed []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answered++
	if found := f.answers[key]; found.Token == token && found.sealed == nil {
		found.sealed = sealed
		f.answers[key] = found
	}
	return nil
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
