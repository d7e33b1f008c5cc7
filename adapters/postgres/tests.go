package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const testStream = "test/"

// NoteTest puts a test into the log before it is sent.
func (s *Store) NoteTest(ctx context.Context, e subscriptions.Exchange, by subscriptions.Actor) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.append(ctx, appended{record: record{Topic: TopicTests, Tenant: e.Tenant, Stream: testStream + e.DeliveryID, Version: 1,
			Type: "subscription.test_requested.v1", Data: data, Meta: metaOf(by), At: e.At}.packed()})
	})
}

// NoteTestEnd adds what came of a test.
func (s *Store) NoteTestEnd(ctx context.Context, e subscriptions.Exchange) error {
	data, err := json.Marshal(e.Outcome)
	if err != nil {
		return err
	}
	return s.db.Update(ctx, func(ctx context.Context, tx *Tx) error {
		return tx.append(ctx, appended{record: record{Topic: TopicTests, Tenant: e.Tenant, Stream: testStream + e.DeliveryID, Version: 2,
			Type: "subscription.test_ended.v1", Data: data, Meta: []byte{}, At: e.At}.packed()})
	})
}

// FindTest reads a test's stream.
func (s *Store) FindTest(ctx context.Context, owner tenant.ID, deliveryID string) (e subscriptions.Exchange, err error) {
	records, err := s.db.stream(ctx, owner, testStream+deliveryID)
	if err != nil {
		return e, fmt.Errorf("read the test %s: %w", deliveryID, err)
	}
	if len(records) == 0 || records[0].Version != 1 { // its beginning may have been purged
		return e, problem.New(problem.NotFound, "There is no such test.")
	}
	if err := json.Unmarshal(records[0].Data, &e); err != nil {
		return e, fmt.Errorf("decode the test %s: %w", deliveryID, err)
	}
	e.Tenant = owner
	if len(records) > 1 {
		e.Outcome = &delivery.Outcome{}
		err = json.Unmarshal(records[1].Data, e.Outcome)
	}
	return e, err
}
