package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// SubscriptionHistory reads the stream with who wrote it; see subscriptions.HistoryStore.
func (s *Store) SubscriptionHistory(ctx context.Context, lane dispatch.Lane) ([]subscriptions.Recorded, error) {
	changes, err := all(ctx, s.db, scanRecorded, `SELECT type, data, metadata, recorded_at FROM records
		WHERE tenant_id = ? AND stream = ? AND version > 0 ORDER BY version`, lane.Tenant, subscriptionStream+lane.SubscriptionID)
	if err != nil {
		return nil, fmt.Errorf("read the stream of %s: %w", lane.SubscriptionID, err)
	}
	if len(changes) == 0 {
		return nil, problem.New(problem.NotFound, "There is no such subscription.")
	}
	return changes, nil
}

func scanRecorded(r *sql.Rows) (c subscriptions.Recorded, err error) {
	var name string
	var data, meta []byte
	var at sql.NullInt64
	if err = r.Scan(&name, &data, &meta, &at); err != nil {
		return c, err
	}
	var by metadata
	if err = json.Unmarshal(meta, &by); err != nil {
		return c, fmt.Errorf("decode metadata: %w", err)
	}
	c.By, c.At = subscriptions.Actor{KeyID: by.KeyID, KeyName: by.KeyName, TraceParent: by.TraceParent}, moment(at)
	c.Change, err = subscription.Decode(name, data)
	return c, err
}

// KeptBack counts gated events by the index alone; see subscriptions.HistoryStore.
func (s *Store) KeptBack(ctx context.Context, lane dispatch.Lane, first, last int64) ([]subscriptions.Kept, error) {
	return all(ctx, s.db, func(r *sql.Rows) (k subscriptions.Kept, err error) {
		var from, to sql.NullInt64
		err = r.Scan(&k.Version, &k.Feature, &k.Events, &from, &to)
		k.First, k.Last = moment(from), moment(to)
		return k, err
	}, `SELECT subscription_version, feature, count(*), min(accepted_at), max(accepted_at) FROM gated_events INDEXED BY gated_events_by_version
		WHERE tenant_id = ? AND subscription_id = ? AND subscription_version BETWEEN ? AND ?
		GROUP BY subscription_version, feature ORDER BY subscription_version, feature`, lane.Tenant, lane.SubscriptionID, first, last)
}
