package telemetry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.opentelemetry.io/contrib/exporters/autoexport"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
)

func startMetrics(ctx context.Context, about *resource.Resource) (*prometheus.Registry, *sdkmetric.MeterProvider, error) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	options := []sdkmetric.Option{sdkmetric.WithResource(about)}
	if !disabled() {
		scraped, err := promexporter.New(promexporter.WithRegisterer(registry), promexporter.WithoutScopeInfo())
		if err != nil {
			return nil, nil, fmt.Errorf("start the metrics for Prometheus: %w", err)
		}
		options = append(options, sdkmetric.WithReader(scraped))
	}
	if asked("METRICS") {
		pushed, err := autoexport.NewMetricReader(ctx)
		if err != nil {
			return nil, nil, fmt.Errorf("start the exporter of metrics: %w", err)
		}
		options = append(options, sdkmetric.WithReader(pushed))
	}
	return registry, sdkmetric.NewMeterProvider(options...), nil
}

// Buckets in seconds: an attempt may take 30 s; waiting for a router or a dispatcher may take hours.
var (
	attemptBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}
	lagBuckets     = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10, 30, 300, 3600}
)

// Metrics counts what happens. No label names a tenant, a subscription or anything else that grows with use.
type Metrics struct {
	attemptDuration metric.Float64Histogram
	attemptDelay    metric.Float64Histogram
	attempts        metric.Int64Counter
	inFlight        metric.Int64UpDownCounter
	staleLeases     metric.Int64Counter
	abandoned       metric.Int64Counter
	stepsFailed     metric.Int64Counter
	requests        metric.Float64Histogram
	unreadable      metric.Int64Counter
	damaged         metric.Int64Counter
	accepted        metric.Int64Counter
	duplicates      metric.Int64Counter
	refused         metric.Int64Counter
	fanOutLag       metric.Float64Histogram
	scheduled       metric.Int64Counter
	ended           metric.Int64Counter
	queue           atomic.Pointer[func(context.Context) (metrics.Queue, bool)]
	reconciliation  atomic.Pointer[ReconciliationReader]
	connections     atomic.Pointer[func() metrics.Connections]

	// Attribute sets are made once, so that a hot path does not sort and hash them for each measurement.
	byOutcome map[outcomeLabels]metric.MeasurementOption
	byType    map[event.Type]metric.MeasurementOption
	byStatus  map[delivery.Status]metric.MeasurementOption
	byRequest sync.Map // requestLabels to metric.MeasurementOption
}

type outcomeLabels struct {
	kind  delivery.Kind
	class string
}

func newMetrics(meter metric.Meter) (*Metrics, error) {
	m := &Metrics{}
	m.prepareLabels()
	b := builder{meter: meter}
	m.attemptDuration = b.seconds("ordinavo.attempt.duration", "How long attempts took, up to the last byte read.", attemptBuckets)
	m.attemptDelay = b.seconds("ordinavo.attempt.delay", "From when an attempt was due to when it began, at receivers that are not spared.", lagBuckets)
	m.attempts = b.counter("ordinavo.attempts", "{attempt}", "Attempts of deliveries by outcome.")
	m.staleLeases = b.counter("ordinavo.attempt.stale_leases", "{attempt}", "Outcomes refused since another process had taken the delivery over.")
	m.abandoned = b.counter("ordinavo.attempt.abandoned", "{attempt}", "Attempts that died with their process; their deliveries were taken over.")
	m.stepsFailed = b.counter("ordinavo.loop.failures", "{step}", "Steps that failed and were tried again, by the loop.")
	m.requests = b.seconds("http.server.request.duration", "How long requests of the API took.", requestBuckets)
	m.unreadable = b.counter("ordinavo.fanout.unreadable_changes", "{change}", "Changes of subscriptions in the log that cannot be read, and subscriptions of which nothing can.")
	m.damaged = b.counter("ordinavo.fanout.unreadable_records", "{record}", "Records of accepted events in the log that cannot be read.")
	m.accepted = b.counter("ordinavo.events.accepted", "{event}", "Events accepted by type.")
	m.duplicates = b.counter("ordinavo.events.duplicates", "{event}", "Events sent again by emitters.")
	m.refused = b.counter("ordinavo.events.refused", "{event}", "Events refused for want of room, by reason.")
	m.fanOutLag = b.seconds("ordinavo.fanout.lag", "From accepting an event to scheduling its deliveries.", lagBuckets)
	m.scheduled = b.counter("ordinavo.deliveries.scheduled", "{delivery}", "Deliveries begun.")
	m.ended = b.counter("ordinavo.deliveries.ended", "{delivery}", "Deliveries closed by their terminal status.")
	var err error
	m.inFlight, err = meter.Int64UpDownCounter("ordinavo.attempts.in_flight", metric.WithUnit("{attempt}"), metric.WithDescription("Attempts under way."))
	if err = errors.Join(b.err, err, m.watchQueue(meter), m.watchReconciliation(meter), m.watchConnections(meter)); err == nil {
		m.beginAtZero()
	}
	return m, err
}

// beginAtZero shows counters that seldom grow before they do: an alert sees no increase in a counter that first appears as
// 1, and no ratio to one that is missing, such as when no attempt has succeeded yet.
func (m *Metrics) beginAtZero() {
	ctx := context.Background()
	for _, c := range []metric.Int64Counter{m.staleLeases, m.abandoned, m.unreadable, m.damaged, m.duplicates} {
		c.Add(ctx, 0)
	}
	m.attempts.Add(ctx, 0, m.byOutcome[outcomeLabels{delivery.KindSucceeded, "2xx"}])
	for _, reason := range intake.Reasons() {
		m.EventsRefused(ctx, string(reason), 0)
	}
	for _, status := range delivery.Statuses() {
		if status.IsTerminal() {
			m.ended.Add(ctx, 0, m.byStatus[status])
		}
	}
}

// builder collects the errors, so that the instruments read as a plain list.
type builder struct {
	meter metric.Meter
	err   error
}

func (b *builder) counter(name, unit, about string) metric.Int64Counter {
	c, err := b.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(about))
	b.err = errors.Join(b.err, err)
	return c
}

func (b *builder) seconds(name, about string, buckets []float64) metric.Float64Histogram {
	h, err := b.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(about), metric.WithExplicitBucketBoundaries(buckets...))
	b.err = errors.Join(b.err, err)
	return h
}

func label(attributes ...attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}

func (m *Metrics) prepareLabels() {
	m.byOutcome = map[outcomeLabels]metric.MeasurementOption{}
	for _, kind := range delivery.Kinds() {
		for _, class := range []string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"} {
			m.byOutcome[outcomeLabels{kind, class}] = label(attribute.String("outcome", string(kind)), attribute.String("status_class", class))
		}
	}
	m.byType = map[event.Type]metric.MeasurementOption{}
	for _, t := range event.AllTypes() {
		m.byType[t] = label(attribute.String("type", string(t)))
	}
	m.byStatus = map[delivery.Status]metric.MeasurementOption{}
	for _, s := range delivery.Statuses() {
		m.byStatus[s] = label(attribute.String("status", string(s)))
	}
}

// everywhere ends the help of what is read from the database: whoever sums it up over three processes has three times as much.
const everywhere = " Each process shows that of the whole database: take the largest, and no sum."

// watchQueue registers the gauges; they show nothing until ShowQueue is called.
func (m *Metrics) watchQueue(meter metric.Meter) error {
	depth, errDepth := meter.Int64ObservableGauge("ordinavo.queue.depth", metric.WithUnit("{delivery}"), metric.WithDescription("Open deliveries by status."+everywhere))
	oldest, errOldest := meter.Float64ObservableGauge("ordinavo.queue.oldest_due.age", metric.WithUnit("s"), metric.WithDescription("How long the oldest due delivery has waited, those of spared receivers included."+everywhere))
	circuits, errCircuits := meter.Int64ObservableGauge("ordinavo.circuits", metric.WithUnit("{subscription}"), metric.WithDescription("Receivers that get nothing but probes, by the circuit's state in this process."))
	aside, errAside := meter.Int64ObservableGauge("ordinavo.events.set_aside", metric.WithUnit("{event}"), metric.WithDescription("Events that could not be handled, and wait to be retried."+everywhere))
	unrouted, errUnrouted := meter.Float64ObservableGauge("ordinavo.fanout.oldest.age", metric.WithUnit("s"), metric.WithDescription("How long the oldest accepted event has waited for its deliveries to be scheduled."+everywhere))
	deferring, errDeferring := meter.Int64ObservableGauge("ordinavo.fanout.deferring", metric.WithUnit("{tenant}"), metric.WithDescription("Tenants of which events wait for their turn, since there are many."+everywhere))
	if err := errors.Join(errDepth, errOldest, errCircuits, errAside, errUnrouted, errDeferring); err != nil {
		return err
	}
	_, err := meter.RegisterCallback(func(ctx context.Context, observer metric.Observer) error {
		last := m.queue.Load()
		if last == nil {
			return nil
		}
		queue, known := (*last)(ctx)
		if !known {
			return nil
		}
		for _, status := range delivery.Statuses() {
			if !status.IsTerminal() {
				observer.ObserveInt64(depth, int64(queue.Depth[status]), m.byStatus[status])
			}
		}
		observer.ObserveFloat64(oldest, queue.OldestDue.Seconds())
		observer.ObserveInt64(aside, int64(queue.SetAside))
		observer.ObserveFloat64(unrouted, queue.OldestUnrouted.Seconds())
		observer.ObserveInt64(deferring, int64(queue.Deferring))
		for _, state := range []circuit.State{circuit.Open, circuit.HalfOpen} {
			observer.ObserveInt64(circuits, int64(queue.Circuits[state]), metric.WithAttributes(attribute.String("state", string(state))))
		}
		return nil
	}, depth, oldest, circuits, aside, unrouted, deferring)
	return err
}

// ShowQueue sets where each scrape and each export gets the queue from.
func (m *Metrics) ShowQueue(last func(context.Context) (queue metrics.Queue, known bool)) {
	m.queue.Store(&last)
}

// AttemptStarted counts an attempt under way; AttemptDone or AttemptNotMade must follow.
func (m *Metrics) AttemptStarted(ctx context.Context) { m.inFlight.Add(ctx, 1) }

// AttemptDelayed tells how long after it was due an attempt began.
func (m *Metrics) AttemptDelayed(ctx context.Context, delay time.Duration) {
	m.attemptDelay.Record(ctx, max(0, delay.Seconds()))
}

// AttemptDone counts what came of an attempt.
func (m *Metrics) AttemptDone(ctx context.Context, o delivery.Outcome) {
	labels, known := m.byOutcome[outcomeLabels{o.Kind, statusClass(o.Status)}]
	if !known {
		labels = label(attribute.String("outcome", "unknown"), attribute.String("status_class", statusClass(o.Status)))
	}
	m.inFlight.Add(ctx, -1)
	m.attempts.Add(ctx, 1, labels)
	m.attemptDuration.Record(ctx, o.Duration.Seconds(), labels)
}

// AttemptNotMade counts one less under way. It is none: an alert tells by the attempts whether anything gets through.
func (m *Metrics) AttemptNotMade(ctx context.Context) { m.inFlight.Add(ctx, -1) }

// SubscriptionUnreadable counts a change, or a whole subscription, that fan-out could not read.
func (m *Metrics) SubscriptionUnreadable(ctx context.Context) { m.unreadable.Add(ctx, 1) }

// RecordUnreadable counts a record whose names of events fan-out could not read.
func (m *Metrics) RecordUnreadable(ctx context.Context) { m.damaged.Add(ctx, 1) }

// AttemptsAbandoned counts attempts that died with their process.
func (m *Metrics) AttemptsAbandoned(ctx context.Context, n int) { m.abandoned.Add(ctx, int64(n)) }

// StepsFailed counts steps of a loop that failed.
func (m *Metrics) StepsFailed(ctx context.Context, loop string, n int) {
	m.stepsFailed.Add(ctx, int64(n), metric.WithAttributes(attribute.String("loop", loop)))
}

// StaleLease counts an outcome that was refused.
func (m *Metrics) StaleLease(ctx context.Context) { m.staleLeases.Add(ctx, 1) }

// EventsAccepted counts the events of one request.
func (m *Metrics) EventsAccepted(ctx context.Context, accepted []event.Type, duplicates int) {
	counts := make(map[event.Type]int64, 1)
	for _, t := range accepted {
		counts[t]++
	}
	for t, n := range counts {
		if labels, known := m.byType[t]; known {
			m.accepted.Add(ctx, n, labels)
		} else {
			m.accepted.Add(ctx, n, label(attribute.String("type", "unknown")))
		}
	}
	if duplicates > 0 {
		m.duplicates.Add(ctx, int64(duplicates))
	}
}

// EventsRefused counts events that were refused for lack of room.
func (m *Metrics) EventsRefused(ctx context.Context, reason string, n int) {
	m.refused.Add(ctx, int64(n), metric.WithAttributes(attribute.String("reason", reason)))
}

// EventFannedOut counts the deliveries of one event; lag is the time since it was accepted.
func (m *Metrics) EventFannedOut(ctx context.Context, deliveries int, lag time.Duration) {
	m.fanOutLag.Record(ctx, max(0, lag.Seconds()))
	m.DeliveriesBegun(ctx, deliveries)
}

// DeliveriesBegun counts deliveries that did not exist before.
func (m *Metrics) DeliveriesBegun(ctx context.Context, n int) {
	if n > 0 {
		m.scheduled.Add(ctx, int64(n))
	}
}

// DeliveriesEnded counts deliveries that reached a terminal status; others are not counted.
func (m *Metrics) DeliveriesEnded(ctx context.Context, status delivery.Status, n int) {
	if n > 0 && status.IsTerminal() {
		m.ended.Add(ctx, int64(n), m.byStatus[status])
	}
}
