package telemetry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"

	"github.com/ordinavo/webhooks/application/reconciliation"
)

// resultTimeout bounds how long a scrape waits for the result.
const resultTimeout = 2 * time.Second

// ReconciliationReader reads the result. It must heed its context.
type ReconciliationReader func(context.Context) (reconciliation.Result, error)

// ReadReconciliation sets what reads the result at each scrape and each export; it gets at most 2 s.
func (m *Metrics) ReadReconciliation(read ReconciliationReader) { m.reconciliation.Store(&read) }

// watchReconciliation registers the gauges; they show nothing until ReadReconciliation is called.
func (m *Metrics) watchReconciliation(meter metric.Meter) error {
	unbalanced, errUnbalanced := meter.Int64ObservableGauge("ordinavo.reconciliation.unbalanced", metric.WithUnit("{hour}"),
		metric.WithDescription("Hours of acceptance in which events are not the sum of their dispositions."+everywhere))
	checked, errChecked := meter.Float64ObservableGauge("ordinavo.reconciliation.checked", metric.WithUnit("s"),
		metric.WithDescription("When an hour was checked last, as Unix time."+everywhere))
	if err := errors.Join(errUnbalanced, errChecked); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(ctx context.Context, observer metric.Observer) error {
		read := m.reconciliation.Load()
		if read == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, resultTimeout)
		defer cancel()
		result, err := (*read)(ctx)
		if err != nil { // returned, it would keep an exporter from sending any metric while the database is away
			otel.Handle(fmt.Errorf("read the result of reconciliation for its metrics: %w", err))
			return nil
		}
		observer.ObserveInt64(unbalanced, int64(result.Unbalanced))
		if !result.CheckedAt.IsZero() {
			observer.ObserveFloat64(checked, float64(result.CheckedAt.UnixMicro())/1e6)
		}
		return nil
	}, unbalanced, checked)
	return err
}
