package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	"github.com/ordinavo/webhooks/domain/problem"
)

const (
	pathHealth  = "/healthz"
	pathReady   = "/readyz"
	pathMetrics = "/metrics"
)

// Health is the answer of the probes.
type Health struct {
	Status string `json:"status" enum:"ok" example:"ok"`
}

// HealthOutput is Health as an answer.
type HealthOutput struct{ Body Health }

func (a *API) routeService() {
	register(a, operation{id: "getHealth", method: http.MethodGet, path: pathHealth, tag: tagService, public: true,
		summary: "Is the process alive?", description: "Always 200 while the process can answer."},
		func(context.Context, *struct{}) (*HealthOutput, error) { return &HealthOutput{Health{"ok"}}, nil })
	register(a, operation{id: "getReadiness", method: http.MethodGet, path: pathReady, tag: tagService, public: true,
		summary: "Can the service work?", description: "503 while something that it needs is missing, or events could not be accepted within the last five seconds."}, a.readiness)
	metrics := operation{id: "getMetrics", method: http.MethodGet, path: pathMetrics, tag: tagService, public: true,
		produces: "text/plain", summary: "Metrics for Prometheus"}.describe(a)
	registerRaw(a, metrics, func(ctx huma.Context) error {
		// fasthttp's own context races with its shutdown when a handler derives one from it.
		withOurs := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { a.Metrics.ServeHTTP(w, r.WithContext(ctx.Context())) })
		return adaptor.HTTPHandler(withOurs)(humafiber.Unwrap(ctx))
	})
	a.routeDocs()
}

// whyNot is what users may see of the error; the request's line in the log has all of it.
func whyNot(err error) string {
	var known *problem.Error
	if errors.As(err, &known) {
		return " " + known.Detail
	}
	return ""
}

func (a *API) readiness(ctx context.Context, _ *struct{}) (*HealthOutput, error) {
	if err := a.Ready(ctx); err != nil {
		return nil, fmt.Errorf("%w: %w", problem.New(problem.Unavailable, "The service is not ready.%s", whyNot(err)), err)
	}
	return &HealthOutput{Health{"ok"}}, nil
}
