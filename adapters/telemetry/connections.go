package telemetry

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/ordinavo/webhooks/application/metrics"
)

// ShowConnections sets what each scrape and each export reads the process's connections to the database from.
func (m *Metrics) ShowConnections(now func() metrics.Connections) { m.connections.Store(&now) }

// watchConnections registers the gauges, named by OpenTelemetry's semantic conventions where these have a name; they show nothing until
// ShowConnections is called.
func (m *Metrics) watchConnections(meter metric.Meter) error {
	count, errCount := meter.Int64ObservableUpDownCounter("db.client.connection.count", metric.WithUnit("{connection}"), metric.WithDescription("Connections to the database by state."))
	most, errMost := meter.Int64ObservableUpDownCounter("db.client.connection.max", metric.WithUnit("{connection}"), metric.WithDescription("Connections to the database at most."))
	waiting, errWaiting := meter.Int64ObservableUpDownCounter("db.client.connection.pending_requests", metric.WithUnit("{request}"), metric.WithDescription("Who waits for a connection to the database now; with SQLite, for the one that writes."))
	polling, errPolling := meter.Int64ObservableGauge("ordinavo.database.polling", metric.WithDescription("1 while what other processes commit is found by polling, since the connection that hears of it is down."))
	if err := errors.Join(errCount, errMost, errWaiting, errPolling); err != nil {
		return err
	}
	used, idle := label(semconv.DBClientConnectionStateUsed), label(semconv.DBClientConnectionStateIdle)
	_, err := meter.RegisterCallback(func(_ context.Context, observer metric.Observer) error {
		now := m.connections.Load()
		if now == nil {
			return nil
		}
		connections := (*now)()
		observer.ObserveInt64(count, int64(connections.Used), used)
		observer.ObserveInt64(count, int64(connections.Idle), idle)
		observer.ObserveInt64(most, int64(connections.Max))
		observer.ObserveInt64(waiting, int64(connections.Waiting))
		if connections.Polling {
			observer.ObserveInt64(polling, 1)
		} else {
			observer.ObserveInt64(polling, 0)
		}
		return nil
	}, count, most, waiting, polling)
	return err
}
