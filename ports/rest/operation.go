package rest

import (
	"cmp"
	"context"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
)

// operation is what a route says about itself: to the middleware and to the OpenAPI document.
type operation struct {
	id          string
	method      string
	path        string
	tag         string
	summary     string
	description string
	status      int // of success; 0 for 200
	// public routes take no key.
	public bool
	// scope is what the key needs; empty when any key will do, or when the route has a rule of its own.
	scope access.Scope
	// allow is the rule of a route that no one scope opens; nil for none.
	allow func(caller access.Key) error
	// perTenant routes act for one tenant: the key's, or the one that a platform key names in a header.
	perTenant bool
	// forBound routes may be called with a key that is bound to one subscription.
	forBound bool
	// changesNothing routes only look: their answers are not kept with an Idempotency-Key, since asking again does no harm.
	changesNothing bool
	// statuses are further errors that the route may answer.
	statuses []int
	// example is a body that the route takes.
	example any
	// maxBody is in bytes; 0 for 1 MiB.
	maxBody int64
	// mostValues is how many values a body may have; 0 for maxValues.
	mostValues int
	// rules says what else is wrong with a body that its schema refuses; nil for a route whose schema says it all.
	rules func(body []byte) error
	// produces is the media type of an answer that is a text; empty for JSON.
	produces string
}

// metadataRules is the key of a route's rules in huma's metadata.
const metadataRules = "rules"

func (o operation) writes() bool { return o.method != http.MethodGet }

// keeps reports whether answers are kept with their Idempotency-Key.
func (o operation) keeps() bool { return o.writes() && !o.public && !o.changesNothing }

// describe is the operation as huma knows it.
func (o operation) describe(a *API) huma.Operation {
	described := huma.Operation{
		OperationID: o.id, Method: o.method, Path: o.path, Tags: []string{o.tag}, Summary: o.summary, Description: o.description,
		DefaultStatus: o.status, MaxBodyBytes: o.maxBody, BodyReadTimeout: -1, Responses: map[string]*huma.Response{},
		SkipValidateParams: o.public, // they declare none, and allow what tools add: see unknownQuery
		Security:           []map[string][]string{}, Metadata: map[string]any{metadataRules: o.rules},
	}
	for _, status := range o.errorStatuses() {
		described.Responses[strconv.Itoa(status)] = sharedResponse(a.huma.OpenAPI().Components, status, o.keeps())
	}
	if o.produces != "" {
		described.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{o.produces: {Schema: text()}}}
	}
	if o.public {
		return described
	}
	scopes := []string{}
	if o.scope != "" {
		scopes = append(scopes, string(o.scope))
	}
	described.Security = append(described.Security, map[string][]string{securityScheme: scopes})
	described.Middlewares = huma.Middlewares{a.authorize(o)}
	if o.perTenant {
		described.Parameters = append(described.Parameters, tenantParameter())
	}
	if o.keeps() {
		described.Middlewares = append(described.Middlewares, a.idempotent)
		described.Parameters = append(described.Parameters, idempotencyParameter())
	}
	return described
}

func (o operation) errorStatuses() []int {
	statuses := append([]int{http.StatusBadRequest, http.StatusInternalServerError, http.StatusServiceUnavailable}, o.statuses...)
	if !o.public {
		statuses = append(statuses, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests)
	}
	if o.perTenant {
		statuses = append(statuses, http.StatusNotFound)
	}
	if o.writes() {
		statuses = append(statuses, http.StatusConflict, http.StatusRequestEntityTooLarge)
	}
	return statuses
}

// register adds a route whose input huma decodes and validates.
func register[I, O any](a *API, o operation, handle func(context.Context, *I) (*O, error)) {
	described := o.describe(a)
	if o.example != nil {
		described.RequestBody = &huma.RequestBody{} // huma fills it in
	}
	described.Middlewares = append(described.Middlewares, a.fewValues(cmp.Or(o.mostValues, maxValues)))
	if _, takesBody := reflect.TypeFor[I]().FieldByName("Body"); o.writes() && !takesBody {
		described.Middlewares = append(described.Middlewares, a.noBody)
	}
	huma.Register(a.huma, described, handle)
	if o.example != nil {
		for _, content := range described.RequestBody.Content {
			content.Example = o.example
		}
	}
}

// fewValues refuses a body before anything is kept of its values.
func (a *API) fewValues(most int) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		if tooManyValues(humafiber.Unwrap(ctx).Request().Body(), most) {
			a.refuse(ctx, errTooManyValues(most).problem())
			return
		}
		next(ctx)
	}
}

// noBody refuses content for a route that reads none: whoever sends some means something by it.
func (a *API) noBody(ctx huma.Context, next func(huma.Context)) {
	if err := checkNoBody(humafiber.Unwrap(ctx).Request().Body()); err != nil {
		a.refuse(ctx, err)
		return
	}
	next(ctx)
}

// checkNoBody allows {}, which some tools send with every POST.
func checkNoBody(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	var content any
	if err := readJSON(body, &content); err != nil {
		return asRefusal(err)
	}
	members, isObject := content.(map[string]any)
	if !isObject {
		return problem.Invalid(wholeBody, "must be empty, or {}: this route takes none")
	}
	fields := problem.Collect("")
	for name := range members {
		fields.Add(printable(name), "is not a field that this route knows")
	}
	return fields.Err()
}

// registerRaw adds a route that reads the request and writes the answer itself; described is its documentation.
func registerRaw(a *API, described huma.Operation, handle func(huma.Context) error) {
	a.huma.OpenAPI().AddOperation(&described)
	handler := func(ctx huma.Context) {
		err := unknownQuery(&described, humafiber.Unwrap(ctx))
		if err == nil {
			err = handle(ctx)
		}
		if err != nil {
			a.refuse(ctx, err)
		}
	}
	a.huma.Adapter().Handle(&described, described.Middlewares.Handler(handler))
}

// unknownQuery refuses unknown query parameters, as huma does on the routes that it decodes. Public routes allow them, for tools with
// habits of their own.
func unknownQuery(described *huma.Operation, c *fiber.Ctx) error {
	if len(described.Security) == 0 {
		return nil
	}
	fields := problem.Collect("")
	for name := range c.Queries() {
		if !slices.ContainsFunc(described.Parameters, func(p *huma.Param) bool { return p.In == "query" && p.Name == name }) {
			fields.Add(printable(name), "is not a parameter that this route knows")
		}
	}
	return fields.Err()
}
