package rest

import (
	"context"

	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/domain/problem"
)

// NewWaiting makes the API of a service that does not have its database yet: alive, with metrics, not ready, everything else unavailable.
// It needs the dependencies of ProbesOnly, except for Ready.
func NewWaiting(d Dependencies) *API {
	unavailable := problem.New(problem.Unavailable, "The service waits for its database; try again in a second.")
	d.ProbesOnly = true
	d.Ready = func(context.Context) error { return unavailable }
	a := newAPI(d)
	a.app.Server().DisableKeepalive = true // the next request goes to the whole API, if it is there by then
	a.app.Use(func(c *fiber.Ctx) error {
		switch c.Path() {
		case pathHealth, pathReady, pathMetrics:
			return c.Next()
		}
		return unavailable
	})
	a.routes()
	return a
}
