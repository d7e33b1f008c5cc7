package postgres

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// SubscriptionHistory reads the stream with who wrote it; see subscriptions.HistoryStore.
func (s *Store) SubscriptionHistory(ctx context.Context, lane dispatch.Lane) ([]subscriptions.Recorded, error) {
	records, err := s.db.stream(ctx, lane.Tenant, subscriptionStream+lane.SubscriptionID)
	if err != nil {
		return nil, fmt.Errorf("read the stream of %s: %w", lane.SubscriptionID, err)
	}
	if len(records) == 0 {
		return nil, problem.New(problem.NotFound, "There is no such subscription.")
	}
	history := make([]subscriptions.Recorded, len(records))
	for i, r := range records {
		if history[i], err = recorded(r); err != nil {
			return nil, fmt.Errorf("version %d of %s: %w", r.Version, lane.SubscriptionID, err)
		}
	}
	return history, nil
}

func recorded(r stored) (c subscriptions.Recorded, err error) {
	var by metadata
	if err = json.Unmarshal(r.Metadata, &by); err != nil {
		return c, fmt.Errorf("decode metadata: %w", err)
	}
	c.By, c.At = subscriptions.Actor{KeyID: by.KeyID, KeyName: by.KeyName, TraceParent: by.TraceParent}, r.At
	c.Change, err = subscription.Decode(r.Type, r.Data)
	return c, err
}

const countKept = `SELECT subscription_version, feature, count(*), min(accepted_at), max(accepted_at) FROM gated_events
WHERE tenant_id = $1 AND subscription_id = $2 AND subscription_version BETWEEN $3 AND $4
GROUP BY subscription_version, feature ORDER BY subscription_version, feature`

// KeptBack counts gated events by the index alone; see subscriptions.HistoryStore.
func (s *Store) KeptBack(ctx context.Context, lane dispatch.Lane, first, last int64) ([]subscriptions.Kept, error) {
	return all(ctx, s.db.forUsers(ctx), func(r pgx.Rows) (k subscriptions.Kept, err error) {
		var from, to *int64
		err = r.Scan(&k.Version, &k.Feature, &k.Events, &from, &to)
		k.First, k.Last = moment(from), moment(to)
		return k, err
	}, countKept, lane.Tenant, lane.SubscriptionID, first, last)
}
