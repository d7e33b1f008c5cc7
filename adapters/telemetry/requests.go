package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// requestBuckets in seconds are those that OpenTelemetry's semantic conventions advise for HTTP servers.
var requestBuckets = []float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

// requestLabels are of a request of the API. There are few of them: the route is a pattern, and a method that HTTP does not know is _OTHER.
type requestLabels struct {
	method, route string
	status        int
}

// RequestServed counts a request of the API and how long it took; route is empty when there is none.
func (m *Metrics) RequestServed(ctx context.Context, method, route string, status int, took time.Duration) {
	of := requestLabels{method, route, status}
	labels, known := m.byRequest.Load(of)
	if !known {
		labels, _ = m.byRequest.LoadOrStore(of, of.option())
	}
	m.requests.Record(ctx, max(0, took.Seconds()), labels.(metric.MeasurementOption))
}

func (of requestLabels) option() metric.MeasurementOption {
	attributes := []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(of.method), semconv.HTTPResponseStatusCode(of.status)}
	if of.route != "" {
		attributes = append(attributes, semconv.HTTPRoute(of.route))
	}
	return label(attributes...)
}
