package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
)

const countGated = `SELECT subscription_version, feature, count(*), min(accepted_at), max(accepted_at) FROM gated_events
WHERE tenant_id = $1 AND subscription_id = $2 AND subscription_version BETWEEN $3 AND $4
GROUP BY subscription_version, feature ORDER BY subscription_version, feature`

// GatedEvents counts gated events from the index alone; see subscriptions.HistoryStore.
func (s *Store) GatedEvents(ctx context.Context, lane dispatch.Lane, first, last int64) ([]subscriptions.Gated, error) {
	return all(ctx, s.db.forUsers(ctx), func(r pgx.Rows) (k subscriptions.Gated, err error) {
		var from, to *int64
		err = r.Scan(&k.Version, &k.Feature, &k.Events, &from, &to)
		k.First, k.Last = moment(from), moment(to)
		return k, err
	}, countGated, lane.Tenant, lane.SubscriptionID, first, last)
}
