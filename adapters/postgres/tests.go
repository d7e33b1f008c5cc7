package postgres

import (
	"context"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/subscriptions"
)

// NoteTest puts a test into the log before it is sent.
func (s *Store) NoteTest(ctx context.Context, e subscriptions.Exchange, by subscriptions.Actor) error {
	r, err := records.OfTest(e, by)
	if err != nil {
		return err
	}
	return s.appendTest(ctx, r)
}

// NoteTestEnd adds what came of a test.
func (s *Store) NoteTestEnd(ctx context.Context, e subscriptions.Exchange) error {
	r, err := records.OfTestEnd(e)
	if err != nil {
		return err
	}
	return s.appendTest(ctx, r)
}

func (s *Store) appendTest(ctx context.Context, r records.Record) error {
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.append(ctx, appended{Record: r.Packed()})
	})
}
