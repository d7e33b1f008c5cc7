package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/problem"
)

// Unbalanced logs the hours in which accepted events are not the sum of their dispositions.
func Unbalanced(log *slog.Logger) func(context.Context, reconciliation.Checked, reconciliation.Missing) {
	return func(ctx context.Context, hour reconciliation.Checked, missing reconciliation.Missing) {
		log.ErrorContext(ctx, "accepted events are not the sum of their dispositions", "tenantId", hour.Tenant, "hour", hour.Begins, "missing", missing.String())
	}
}

// AttemptTrouble logs why requests could not be signed or sent, and where attempts panicked. While the database is away, or the process has no
// room for connections, that is one line in ten seconds: it may be hundreds of deliveries.
func AttemptTrouble(log *slog.Logger, now func() time.Time) func(context.Context, dispatch.Leased, error) {
	const seldom = 10 * time.Second
	var told atomic.Int64 // when it was away, in nanoseconds
	return func(ctx context.Context, l dispatch.Leased, err error) {
		attrs := []any{"tenantId", l.Delivery.Tenant, "deliveryId", l.Delivery.ID, "error", err}
		if panicked, ok := errors.AsType[*dispatch.Panic](err); ok {
			log.ErrorContext(ctx, "an attempt panicked", append(attrs, "stack", string(panicked.Stack))...)
			return
		}
		message := "a request could not be signed"
		_, exhausted := errors.AsType[dispatch.Exhausted](err)
		if exhausted {
			message = "deliveries wait, since there is no file left to connect with: raise the limit of open files (ulimit -n), or lower ORDINAVO_MAX_IN_FLIGHT"
		}
		if last, at := told.Load(), now().UnixNano(); exhausted || problem.Is(err, problem.Unavailable) {
			if at < last+int64(seldom) && at >= last || !told.CompareAndSwap(last, at) {
				return
			}
		}
		log.ErrorContext(ctx, message, attrs...)
	}
}
