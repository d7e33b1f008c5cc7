package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/share"
	"github.com/ordinavo/webhooks/domain/problem"
)

const (
	reserve = `INSERT INTO idempotency_keys (key, fingerprint, token, reserved_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)
		ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, token = excluded.token,
			reserved_at = excluded.reserved_at, expires_at = excluded.expires_at, sealed = NULL
		WHERE expires_at <= ?4 OR sealed IS NULL AND reserved_at <= ?6`
	reserved = `SELECT fingerprint, sealed FROM idempotency_keys WHERE key = ?`

	// reservedAtOnce bounds what others have to wait for.
	reservedAtOnce = 64
)

// reservations wait for the writer, of which there is one. One caller at a time gets it and reserves for all: a commit for each would be the
// slowest part of a write.
type reservations struct {
	turn    chan struct{} // has room for the caller whose turn it is
	mu      sync.Mutex
	waiting []*reservation
}

// reservation is one caller's.
type reservation struct {
	idempotency.Reservation
	takeOver time.Time
	found    *idempotency.Found
	err      error
	done     chan struct{} // closed once it is committed, or is not
}

// Reserve takes a key that is free, has expired, or was left by a crash; see idempotency.Store.
func (s *Store) Reserve(ctx context.Context, r idempotency.Reservation, takeOver time.Time) (found *idempotency.Found, err error) {
	own := &reservation{Reservation: r, takeOver: takeOver, done: make(chan struct{})}
	if tx, ok := ctx.Value(txKey{}).(*Tx); ok {
		err = s.reserve(ctx, tx, own)
		return own.found, errors.Join(err, own.err)
	}
	s.reserving.add(own)
	defer s.reserving.remove(own) // after a panic: nobody is there for it
	for {
		select {
		case <-own.done:
			return own.found, own.err
		case <-ctx.Done():
			err = context.Cause(ctx)
		case s.reserving.turn <- struct{}{}:
			err = s.lead(ctx, own)
		}
		switch {
		case err == nil:
		case s.reserving.remove(own):
			return nil, err
		default: // it is in a transaction
			<-own.done
			return own.found, own.err
		}
	}
}

// lead has its turn, unless another's ended with what it is for.
func (s *Store) lead(ctx context.Context, own *reservation) error {
	defer func() { <-s.reserving.turn }()
	select {
	case <-own.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	default:
		return s.reserveTogether(ctx)
	}
}

// reserveTogether reserves what waits, in one transaction. Nobody gives up for the others: once it has begun it goes on.
func (s *Store) reserveTogether(ctx context.Context) (err error) {
	var group []*reservation
	err = errors.New("the transaction did not end")
	defer func() {
		for _, r := range group {
			if err != nil {
				r.found, r.err = nil, err
			}
			close(r.done)
		}
	}()
	err = s.db.Update(share.Own(ctx), func(ctx context.Context, tx *Tx) error { // for all tenants, one at a time
		group = s.reserving.take()
		for _, r := range group {
			if err := s.reserve(context.WithoutCancel(ctx), tx, r); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// reserve notes what it finds. It fails with what concerns the others, too.
func (s *Store) reserve(ctx context.Context, tx *Tx, r *reservation) error {
	n, err := tx.Exec(ctx, reserve, r.Key[:], r.Fingerprint[:], r.Token, stamp(r.ReservedAt), stamp(r.ExpiresAt), stamp(r.takeOver))
	if err != nil {
		return err
	}
	if n == 0 {
		found, err := one(ctx, s.db, scanReserved, reserved, r.Key[:])
		switch {
		case problem.Is(err, problem.Unavailable):
			return fmt.Errorf("read an idempotency key: %w", err)
		case err != nil: // its row is damaged
			r.err = fmt.Errorf("read an idempotency key: %w", err)
		default:
			r.found = &found
		}
	}
	return nil
}

func scanReserved(r *sql.Rows) (f idempotency.Found, err error) {
	var print []byte
	err = r.Scan(&print, &f.Sealed)
	if err == nil && len(print) != len(f.Fingerprint) {
		err = errors.New("a fingerprint of another length")
	}
	if err == nil {
		f.Fingerprint = idempotency.Fingerprint(print)
	}
	return f, err
}

func (w *reservations) add(r *reservation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = append(w.waiting, r)
}

// take is the first of those that wait.
func (w *reservations) take() (first []*reservation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.waiting), reservedAtOnce)
	first, w.waiting = w.waiting[:n:n], slices.Clone(w.waiting[n:])
	return first
}

// remove is false when another's transaction has taken it.
func (w *reservations) remove(r *reservation) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.waiting, r)
	if i >= 0 {
		w.waiting = slices.Delete(w.waiting, i, i+1)
	}
	return i >= 0
}
