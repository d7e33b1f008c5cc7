package sqlite

import (
	"context"
	"database/sql"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
)

// GatedEvents counts gated events by the index alone; see subscriptions.HistoryStore.
func (s *Store) GatedEvents(ctx context.Context, lane dispatch.Lane, first, last int64) ([]subscriptions.Gated, error) {
	return all(ctx, s.db.forUsers(), func(r *sql.Rows) (k subscriptions.Gated, err error) {
		var from, to sql.NullInt64
		err = r.Scan(&k.Version, &k.Feature, &k.Events, &from, &to)
		k.First, k.Last = moment(from), moment(to)
		return k, err
	}, `SELECT subscription_version, feature, count(*), min(accepted_at), max(accepted_at) FROM gated_events INDEXED BY gated_events_by_version
		WHERE tenant_id = ? AND subscription_id = ? AND subscription_version BETWEEN ? AND ?
		GROUP BY subscription_version, feature ORDER BY subscription_version, feature`, lane.Tenant, lane.SubscriptionID, first, last)
}
