package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// record is what is known about a request while it is worked on; one goroutine holds it.
type record struct {
	traceID string
	caller  access.Key
	owner   tenant.ID
	err     error // why the request was refused
	// reservation is that of the request's Idempotency-Key; nil for none. kept says that the handler kept the answer.
	reservation *idempotency.Reservation
	kept        bool
	// changedNothing says that the answer need not be kept: asking again does no harm.
	changedNothing bool
	// encodedPath is the path as it was sent, when it is percent-encoded: reading the request's URI decodes it. Else it is empty.
	encodedPath string
}

type recordKey struct{}

// recordFrom is the request's record; an empty one outside a request.
func recordFrom(ctx context.Context) *record {
	if r, ok := ctx.Value(recordKey{}).(*record); ok {
		return r
	}
	return &record{}
}

// observed reports whether the context is that of a request that went through observe.
func observed(ctx context.Context) bool { return ctx.Value(recordKey{}) != nil }

// headerTraceParent is the one header of W3C Trace Context that is read: a caller's tracestate and
// baggage go nowhere (contract, section 4).
const headerTraceParent = "traceparent"

// observe gives each request a context with a deadline and a span, turns errors and panics into answers, and logs one line about it. Fiber
// cancels nothing when the client goes away, so the deadline is what ends a request that hangs.
func (a *API) observe(c *fiber.Ctx) error {
	ctx, cancel := context.WithTimeout(a.base, requestTimeout)
	defer cancel()
	ctx = a.WithTraceParent(ctx, c.Get(headerTraceParent))
	ctx, span := a.Tracer.Start(ctx, spanName(c), trace.WithSpanKind(trace.SpanKindServer))
	defer span.End()
	r := &record{}
	if span.SpanContext().HasTraceID() {
		r.traceID = span.SpanContext().TraceID().String()
	}
	started := a.Now()
	c.SetUserContext(context.WithValue(ctx, recordKey{}, r))
	a.limits.untouched(c)
	if err := recovered(c); err != nil {
		if err = a.answerError(c, err); err != nil {
			return err
		}
	}
	a.describe(span, c, r)
	took := a.Now().Sub(started)
	if a.Served != nil {
		a.Served(ctx, methodOf(c), template(c), c.Response().StatusCode(), took)
	}
	a.log(ctx, c, r, slog.Float64("durationMs", float64(took.Microseconds())/1000))
	return nil
}

const (
	// methodOther stands for a method that HTTP does not know, in OpenTelemetry's semantic conventions.
	methodOther = "_OTHER"
	// askedFor is the user value that holds the original method of a request that is routed by another one.
	askedFor = "method"
)

// methodOf is the method that a request came with.
func methodOf(c *fiber.Ctx) string {
	if came, changed := c.Context().UserValue(askedFor).(string); changed {
		return came
	}
	return c.Method()
}

// schemeOf is the scheme that a request came by, as far as a proxy in front says so: any caller may say anything.
func schemeOf(c *fiber.Ctx) string {
	if c.Protocol() == "https" {
		return "https"
	}
	return "http"
}

// spanName names a span whose route is not known; OpenTelemetry wants no method in it that HTTP does not know.
func spanName(c *fiber.Ctx) string {
	if method := methodOf(c); method != methodOther {
		return method
	}
	return "HTTP"
}

// panicked is a panic as an error; its text and stack are for the log.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprintf("panic: %v", p.value) }

func recovered(c *fiber.Ctx) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &panicked{value, debug.Stack()}
		}
	}()
	return c.Next()
}

// template is the route's pattern, which has no caller's values in it.
func template(c *fiber.Ctx) string {
	path := c.Route().Path
	if path == "" || path == "/" {
		return ""
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		if name, isParam := strings.CutPrefix(segment, ":"); isParam {
			segments[i] = "{" + name + "}"
		}
	}
	return strings.Join(segments, "/")
}

// describe follows OpenTelemetry's semantic conventions for HTTP servers.
func (a *API) describe(span trace.Span, c *fiber.Ctx, r *record) {
	status := c.Response().StatusCode()
	span.SetAttributes(
		attribute.String("http.request.method", methodOf(c)),
		attribute.String("url.scheme", schemeOf(c)),
		attribute.Int("http.response.status_code", status),
	)
	if route := template(c); route != "" {
		span.SetName(spanName(c) + " " + route)
		span.SetAttributes(attribute.String("http.route", route))
	}
	if r.owner != "" {
		span.SetAttributes(attribute.String("ordinavo.tenant.id", string(r.owner)))
	}
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, http.StatusText(status))
		span.SetAttributes(attribute.String("error.type", strconv.Itoa(status)))
	}
}

// log writes the request's one line: no bodies, no secrets, no query.
func (a *API) log(ctx context.Context, c *fiber.Ctx, r *record, more ...slog.Attr) {
	status := c.Response().StatusCode()
	level := slog.LevelDebug
	switch {
	case status >= http.StatusInternalServerError:
		level = slog.LevelError
	case status >= http.StatusBadRequest:
		level = slog.LevelInfo
	}
	if !a.Log.Enabled(ctx, level) {
		return
	}
	attrs := append(more, slog.String("method", methodOf(c)), slog.String("route", template(c)), slog.Int("status", status),
		slog.String("keyId", r.caller.ID), slog.String("tenantId", string(r.owner)))
	if r.err != nil {
		attrs = append(attrs, slog.String("error", loggable(r.err)))
	}
	if p, ok := r.err.(*panicked); ok {
		attrs = append(attrs, slog.String("stack", string(p.stack)))
	}
	a.Log.LogAttrs(ctx, level, "request", attrs...)
}

// loggable is an error without what callers sent: a refusal's fields may quote them. Of what is not there for now the log says why.
func loggable(err error) string {
	var refused *problem.Error
	if errors.As(err, &refused) && refused.Code != problem.Unavailable {
		return string(refused.Code)
	}
	return err.Error()
}
