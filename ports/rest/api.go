// Package rest is the HTTP API (contract, sections 5 and 7). Handlers are written so that the OpenAPI
// document is generated from them.
package rest

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/application/directory"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/application/jobs"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/application/preview"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Intake accepts events; see intake.Intake.
type Intake interface {
	Accept(ctx context.Context, events []event.Event, traceParent string, keep intake.Keep) ([]intake.Result, error)
}

// SubscriptionLister lists a tenant's subscriptions, newest first by ID, without deleted ones; after is
// the ID that the last page ended with, empty for the first page.
type SubscriptionLister interface {
	ListSubscriptions(ctx context.Context, owner tenant.ID, after string, limit int) ([]subscription.Subscription, error)
}

// CircuitReader tells which of the tenant's receivers are spared, by subscription, as reported by processes whose heartbeat was seen since
// the given time. Where several report on one receiver, the report that spares it most counts.
type CircuitReader interface {
	Circuits(ctx context.Context, owner tenant.ID, subscriptionIDs []string, heartbeatSince time.Time) (map[string]circuit.Report, error)
}

// Tester sends a signed sample of an event type to a subscription's URL, once.
type Tester interface {
	// Test answers problem.NotFound when there is no such subscription.
	Test(ctx context.Context, lane dispatch.Lane, t event.Type, by subscriptions.Actor) (subscriptions.Exchange, error)
}

// Dependencies is what the API drives.
type Dependencies struct {
	Intake           Intake
	Subscriptions    *subscriptions.Service
	SubscriptionList SubscriptionLister
	Circuits         CircuitReader
	History          *subscriptions.History
	Tester           Tester
	Directory        directory.Store
	Tenants          *access.Tenants
	Keys             *access.Keys
	Events           *queries.Events
	Deliveries       *queries.Deliveries
	Retries          *queries.Retries
	EventRetries     *queries.EventRetries
	Jobs             *jobs.Service
	Idempotency      *idempotency.Answers
	Previews         *preview.Previewer
	Doctor           *preview.Doctor
	// CatchUp serves by pull what is meant to be pushed.
	CatchUp *catchup.Service
	// DeliveryMetrics sums attempts up.
	DeliveryMetrics metrics.Reader
	// Live tells of deliveries as they change; nil with ProbesOnly.
	Live           *live.Hub
	Reconciliation *reconciliation.Service
	// Ready says why the service cannot work now; nil when it can.
	Ready func(ctx context.Context) error
	// Metrics serves /metrics.
	Metrics http.Handler
	Tracer  trace.Tracer
	// WithTraceParent makes the span that a W3C traceparent names the parent of what begins in the context; junk is ignored.
	WithTraceParent func(ctx context.Context, traceParent string) context.Context
	// TraceParent is the W3C traceparent of the context's span; empty for none.
	TraceParent func(ctx context.Context) string
	// Served hears of each request once it is answered: its route is a pattern, and empty when there is none; nil for nobody.
	Served func(ctx context.Context, method, route string, status int, took time.Duration)
	Log    *slog.Logger
	Now    func() time.Time
	// RateLimit is requests a second and API key; 0 is none.
	RateLimit int
	// TenantRateLimit is requests a second and tenant, over all its keys; 0 is none.
	TenantRateLimit int
	// Memory is how many bytes the process may use; 0 is no bound.
	Memory  int64
	Version string
	// ProbesOnly serves /healthz, /readyz and /metrics alone: the process has other roles than the API's.
	ProbesOnly bool
}

// API is the HTTP server.
type API struct {
	Dependencies
	app    *fiber.App
	huma   huma.API
	limits limits
	room   *room
	atWork atWork
	// document is /openapi.json, asyncDocument is /asyncapi.json.
	document, asyncDocument func() []byte
	// base is the parent of each request's context; stop cancels it when draining took too long.
	base context.Context
	stop context.CancelFunc
}

// Serve answers requests until Shutdown; it owns the listener.
func (a *API) Serve(listener net.Listener) error {
	if err := a.app.Listener(inbound{listener, a.app.Server().IdleTimeout, a.room, a.tellFull()}); err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	return nil
}

// tellFull makes a function that logs why no connection is taken, once a minute at most.
func (a *API) tellFull() func(error) {
	var last time.Time
	return func(err error) {
		if now := a.Now(); now.Sub(last).Abs() >= time.Minute {
			last = now
			a.Log.Error("no connection is taken while there is no room for another", "error", err)
		}
	}
}

// Shutdown lets running requests end until ctx does, then cuts them off. No others are taken.
func (a *API) Shutdown(ctx context.Context) error {
	defer a.stop()
	if a.Live != nil {
		a.Live.Close() // a stream does not end by itself and would keep the server waiting
	}
	if err := a.app.ShutdownWithContext(ctx); err != nil {
		return fmt.Errorf("shut the API down: %w", err)
	}
	return nil
}
