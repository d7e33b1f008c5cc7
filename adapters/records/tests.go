package records

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

// OfTest makes the record of a test before it is sent.
func OfTest(e subscriptions.Exchange, by subscriptions.Actor) (Record, error) {
	data, err := json.Marshal(e)
	return Record{Topic: TopicTests, Tenant: e.Tenant, Stream: testStream + e.DeliveryID, Version: 1,
		Type: "subscription.test_requested.v1", Data: data, Metadata: metadataOf(by), At: e.At}, err
}

// OfTestEnd makes the record of a test's outcome.
func OfTestEnd(e subscriptions.Exchange) (Record, error) {
	data, err := json.Marshal(e.Outcome)
	return Record{Topic: TopicTests, Tenant: e.Tenant, Stream: testStream + e.DeliveryID, Version: 2,
		Type: "subscription.test_ended.v1", Data: data, Metadata: metadata{}.encode(), At: e.At}, err
}

// FindTest reads a test's stream.
func (read Streams) FindTest(ctx context.Context, owner tenant.ID, deliveryID string) (e subscriptions.Exchange, err error) {
	stream, err := read(ctx, owner, testStream+deliveryID)
	if err != nil {
		return e, fmt.Errorf("read the test %s: %w", deliveryID, err)
	}
	if len(stream) == 0 || stream[0].Version != 1 { // its beginning may have been purged
		return e, problem.New(problem.NotFound, "There is no such test.")
	}
	if err := json.Unmarshal(stream[0].Data, &e); err != nil {
		return e, fmt.Errorf("decode the test %s: %w", deliveryID, err)
	}
	e.Tenant = owner
	if len(stream) > 1 {
		e.Outcome = &delivery.Outcome{}
		err = json.Unmarshal(stream[1].Data, e.Outcome)
	}
	return e, err
}
