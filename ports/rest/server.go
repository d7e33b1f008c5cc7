package rest

import (
	"context"
	"slices"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// Limits of the server.
const (
	// maxBody is the largest body that is taken, in bytes.
	maxBody = 8 << 20
	// maxRead is the largest body that is read. Up to here a body that is too large is read to its end,
	// so that its sender gets the answer 413 and not a reset connection.
	maxRead   = 12 << 20
	maxHeader = 16 << 10
	// maxConnections bounds open connections, idle or not; most are idle, see ReduceMemoryUsage. It is more than live.Limits allows, which
	// knows of Connections, so that listeners leave room for others.
	maxConnections = 16 << 10
	readTimeout    = 30 * time.Second
	writeTimeout   = 60 * time.Second
	// idleTimeout is longer than the minute after which nginx and most load balancers let go of an idle connection: the proxy would send a
	// POST on one that is just being closed here, and answer 502, since it may not send that again.
	idleTimeout = 65 * time.Second
	// requestTimeout is how long a request may be worked on; idempotency.TakenOver is longer.
	requestTimeout = 30 * time.Second
)

// New makes the API with all its routes.
func New(d Dependencies) *API {
	a := newAPI(d)
	a.routes()
	return a
}

func newAPI(d Dependencies) *API {
	a := &API{Dependencies: d, limits: limits{newLimiter(d.RateLimit, d.Now), newLimiter(d.TenantRateLimit, d.Now)}, room: newRoom(mayHold(d.Memory)), atWork: newAtWork()}
	a.base, a.stop = context.WithCancel(context.Background())
	a.app = fiber.New(fiber.Config{
		AppName:       "Ordinavo Webhooks",
		BodyLimit:     maxRead,
		CaseSensitive: true,
		Concurrency:   Connections(d.Memory),
		// The form reader would stop where the form ends, and the rest of the body would be taken for the next request.
		DisablePreParseMultipartForm: true,
		DisableStartupMessage:        true,
		ErrorHandler:                 a.answerError,
		IdleTimeout:                  idleTimeout,
		Immutable:                    true, // strings of a request may outlive it
		ReadBufferSize:               maxHeader,
		ReadTimeout:                  readTimeout, // from a request's first byte to its last
		ReduceMemoryUsage:            true,        // an idle connection holds no buffers
		StrictRouting:                true,
		UnescapePath:                 true,
		WriteTimeout:                 writeTimeout,
	})
	a.app.Server().Logger = overflowing{d.Log}
	a.app.Use(a.observe, a.guard)
	return a
}

// routes must be called after the middlewares are added.
func (a *API) routes() {
	a.huma = a.newHuma()
	a.route()
	a.refuseUnknownMethods()
}

// refuseUnknownMethods runs before Fiber, which answers unknown methods in plain text.
func (a *API) refuseUnknownMethods() {
	known, next := a.app.Config().RequestMethods, a.app.Handler()
	a.app.Server().Handler = func(request *fasthttp.RequestCtx) {
		switch {
		case request.IsHead(): // what GET answers, without the body (RFC 9110, section 9.3.2)
			request.SetUserValue(askedFor, fiber.MethodHead)
			request.Request.Header.SetMethod(fiber.MethodGet)
			request.Response.SkipBody = true
		case !slices.Contains(known, string(request.Method())):
			request.SetUserValue(askedFor, methodOther)
			request.Request.Header.SetMethod(fiber.MethodTrace) // which no route takes either
		}
		next(request)
	}
}

// route adds every route, then completes the documents about them.
func (a *API) route() {
	if a.ProbesOnly {
		a.routeService()
		a.completeDocuments()
		return
	}
	a.routeEvents()
	a.routeEventTypes()
	a.routeDirectory()
	a.routeTenants()
	a.routeKeys()
	a.routeSubscriptions()
	a.routeMetrics()
	a.routeCatchUp()
	a.routeStream() // before the route of a delivery, whose id could be anything
	a.routeDeliveries()
	a.routeJobs()
	a.routePreviews()
	a.routeDoctor()
	a.routeReconciliation()
	a.routeService()
	a.completeDocuments()
}
