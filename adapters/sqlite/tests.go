package sqlite

import (
	"context"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/subscriptions"
)

// NoteTest records a test in the log before it is sent.
func (s *Store) NoteTest(ctx context.Context, e subscriptions.Exchange, by subscriptions.Actor) error {
	r, err := records.OfTest(e, by)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error { return tx.append(ctx, r) })
}

// NoteTestEnd records the outcome of a test.
func (s *Store) NoteTestEnd(ctx context.Context, e subscriptions.Exchange) error {
	r, err := records.OfTestEnd(e)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error { return tx.append(ctx, r) })
}
