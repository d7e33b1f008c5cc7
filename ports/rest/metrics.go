package rest

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
)

// DeliveryMetrics is attempts over time.
type DeliveryMetrics struct {
	Since    time.Time     `json:"since"`
	Until    time.Time     `json:"until"`
	Interval string        `json:"interval" example:"1h" doc:"In the form in which it is asked for."`
	Data     []MetricPoint `json:"data" doc:"Oldest first; what has no attempts is left out."`
}

// MetricPoint is what one interval has of one subscription, event type and outcome, as far as they are told apart.
type MetricPoint struct {
	Start          time.Time `json:"start" doc:"Of the interval in which the attempts ended."`
	SubscriptionID *string   `json:"subscriptionId" doc:"null where subscriptions are not told apart: see groupBy."`
	EventType      *string   `json:"eventType"`
	Outcome        *string   `json:"outcome" enum:"succeeded,http_status,timeout,connection_refused,dns,tls,blocked_address,redirect,response_too_large,lease_expired"`
	Count          int64     `json:"count" doc:"Attempts."`
	LatencyMs      Latency   `json:"latencyMs"`
}

// TransformSchema lets the outcome be null.
func (MetricPoint) TransformSchema(_ huma.Registry, s *huma.Schema) *huma.Schema {
	outcome := s.Properties["outcome"]
	outcome.Enum = append(outcome.Enum, nil)
	return s
}

// Latency is how long attempts took, in milliseconds.
type Latency struct {
	P50 float64 `json:"p50"`
	P95 float64 `json:"p95"`
	P99 float64 `json:"p99"`
}

// DeliveryMetricsOutput is DeliveryMetrics as an answer.
type DeliveryMetricsOutput struct{ Body DeliveryMetrics }

type deliveryMetricsInput struct {
	Since          queryTime `query:"since" doc:"RFC 3339, inclusive, taken down to where its interval begins; a day before until when it is absent."`
	Until          queryTime `query:"until" doc:"RFC 3339, exclusive, taken up to where its interval ends; now when it is absent."`
	Interval       string    `query:"interval" maxLength:"20" doc:"Whole minutes up to 8784h, like 5m or 24h; 1h when it is absent."`
	GroupBy        string    `query:"groupBy" maxLength:"100" doc:"What has points of its own: subscription, eventType and outcome, or some of them, separated by commas; none for one point an interval. All three when it is absent. Percentiles are those of all that shares a point."`
	SubscriptionID string    `query:"subscriptionId" pattern:"^sub_[0-9A-Za-z]{1,40}$" patternDescription:"an id that begins with sub_"`
}

const metricsDescription = `Attempts by the time at which they ended, from a projection of the log that follows within seconds. Percentiles are within 5%.
Intervals begin at round times, whenever one asks: those of 5m at :00, :05 and so on, those of 24h at midnight UTC, those of 168h on Mondays. The first and
the last one are whole, so that since and until in the answer may be further apart than what was asked for.
Kept as long as attempts are. An answer has at most 2,000 intervals.`

// cellsBound is met by tenants with many subscriptions, even for a day.
func cellsBound() string {
	return fmt.Sprintf(" It is summed up of one count for each interval, group and latency to a tenth; where these are more than %d, "+
		"400 says so: ask for a shorter time, a longer interval, one subscription or fewer groups.", metrics.MaxCells)
}

func (a *API) routeMetrics() {
	register(a, operation{id: "deliveryMetrics", method: http.MethodGet, path: "/v1/metrics/deliveries", tag: tagDeliveries,
		scope: access.DeliveriesRead, perTenant: true, forBound: true, summary: "Count attempts over time, with percentiles of their latency", description: metricsDescription + cellsBound()}, a.deliveryMetrics)
}

func (a *API) deliveryMetrics(ctx context.Context, in *deliveryMetricsInput) (*DeliveryMetricsOutput, error) {
	q, err := in.query(a.Now())
	if err != nil {
		return nil, err
	}
	of, err := lane(ctx, cmp.Or(in.SubscriptionID, callerOf(ctx).SubscriptionID))
	if err != nil {
		return nil, err
	}
	q.Tenant, q.SubscriptionID = of.Tenant, of.SubscriptionID
	points, err := metrics.Read(ctx, a.DeliveryMetrics, q)
	if err != nil {
		return nil, err
	}
	view := DeliveryMetrics{Since: q.Since, Until: q.Until, Interval: shortDuration(q.Interval), Data: []MetricPoint{}}
	for _, p := range points {
		view.Data = append(view.Data, MetricPoint{p.Start, unlessEmpty(p.SubscriptionID), unlessEmpty(string(p.EventType)), unlessEmpty(string(p.Outcome)), p.Count,
			Latency{milliseconds(p.P50), milliseconds(p.P95), milliseconds(p.P99)}})
	}
	return &DeliveryMetricsOutput{view}, nil
}

const (
	maxIntervals = 2000
	maxInterval  = 366 * 24 * time.Hour
)

// together is what the value of groupBy does not name.
func together(groupBy string) (metrics.Together, error) {
	if groupBy == "" {
		return metrics.Together{}, nil
	}
	t := metrics.Together{Subscriptions: true, Types: true, Outcomes: true}
	if groupBy == "none" {
		return t, nil
	}
	for name := range strings.SplitSeq(groupBy, ",") {
		switch name {
		case "subscription":
			t.Subscriptions = false
		case "eventType":
			t.Types = false
		case "outcome":
			t.Outcomes = false
		default:
			return t, problem.Invalid("groupBy", "must be none, or some of subscription, eventType and outcome, separated by commas")
		}
	}
	return t, nil
}

func (in *deliveryMetricsInput) query(now time.Time) (q metrics.Query, err error) {
	if err := (Period{in.Since, in.Until}).check(); err != nil {
		return q, err
	}
	q = metrics.Query{Since: in.Since.Time, Until: in.Until.Time, Interval: time.Hour}
	if in.Interval != "" {
		if q.Interval, err = time.ParseDuration(in.Interval); err != nil || q.Interval < metrics.Grain || q.Interval > maxInterval || q.Interval%metrics.Grain != 0 {
			return q, problem.Invalid("interval", "must be whole minutes up to 8784h, like 5m or 24h")
		}
	}
	if q.Together, err = together(in.GroupBy); err != nil {
		return q, err
	}
	if q.Until.IsZero() {
		q.Until = now
	}
	if q.Since.IsZero() {
		q.Since = q.Until.Add(-24 * time.Hour)
	}
	// Truncate counts from a Monday's midnight, so that weeks begin on Mondays.
	q.Since, q.Until = q.Since.UTC().Truncate(q.Interval), q.Until.UTC().Add(q.Interval-1).Truncate(q.Interval)
	switch {
	case q.Until.Before(q.Since):
		return q, problem.Invalid("since", "is after until")
	case q.Until.Year() > 9999: // which is no time that JSON can hold
		return q, problem.Invalid("until", "is in an interval that ends beyond the year 9999")
	case q.Until.Sub(q.Since)/q.Interval > maxIntervals:
		return q, problem.Invalid("interval", "makes more than 2,000 intervals of this time")
	}
	return q, nil
}
