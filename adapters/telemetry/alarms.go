package telemetry

import (
	"context"
	"log/slog"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/reconciliation"
)

// Unbalanced logs the hours in which accepted events are not the sum of their dispositions.
func Unbalanced(log *slog.Logger) func(context.Context, reconciliation.Checked, reconciliation.Missing) {
	return func(ctx context.Context, hour reconciliation.Checked, missing reconciliation.Missing) {
		log.ErrorContext(ctx, "accepted events are not the sum of their dispositions", "tenantId", hour.Tenant, "hour", hour.Begins, "missing", missing.String())
	}
}

// Unsigned logs why requests could not be signed.
func Unsigned(log *slog.Logger) func(context.Context, dispatch.Leased, error) {
	return func(ctx context.Context, l dispatch.Leased, err error) {
		log.ErrorContext(ctx, "a request could not be signed", "tenantId", l.Delivery.Tenant, "deliveryId", l.Delivery.ID, "error", err)
	}
}
