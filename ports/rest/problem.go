package rest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/danielgtaylor/huma/v2/validation"
	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/trace"

	"github.com/ordinavo/webhooks/domain/problem"
)

// Problem is every error's answer (RFC 9457; contract, section 5).
type Problem struct {
	Type          string              `json:"type" doc:"A URN that names the code." example:"urn:ordinavo:problem:validation_failed"`
	Title         string              `json:"title" doc:"What the code means." example:"The input is not valid"`
	Status        int                 `json:"status" example:"400"`
	Code          string              `json:"code" doc:"Stable, for programs." enum:"invalid_request,validation_failed,unauthorized,forbidden,missing_scope,feature_not_enabled,not_found,conflict,idempotency_conflict,payload_too_large,rate_limited,internal_error,unavailable" example:"validation_failed"`
	Detail        string              `json:"detail" doc:"What was wrong this time." example:"The input has fields that are missing or not valid."`
	TraceID       string              `json:"traceId" doc:"Names the request in the service's traces and logs." example:"4bf92f3577b34da6a3ce929d0e0e4736"`
	Errors        map[string][]string `json:"errors,omitzero" doc:"A field's path, like events[3].visitReport.id, to what is wrong with it."`
	RequiredScope string              `json:"requiredScope,omitempty" doc:"The scope that the key lacks; with missing_scope only." example:"webhooks.manage"`
}

// Error makes a Problem an answer in the eyes of huma.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457.
func (p *Problem) ContentType(string) string { return contentTypeProblem }

const contentTypeProblem = "application/problem+json"

// kinds is the one place that gives a code its status (contract, section 5).
var kinds = map[problem.Code]struct {
	status int
	title  string
}{
	problem.InvalidRequest:      {http.StatusBadRequest, "The request cannot be read"},
	problem.ValidationFailed:    {http.StatusBadRequest, "The input is not valid"},
	problem.Unauthorized:        {http.StatusUnauthorized, "A valid API key is needed"},
	problem.Forbidden:           {http.StatusForbidden, "The key may not do this"},
	problem.MissingScope:        {http.StatusForbidden, "The key lacks a scope"},
	problem.FeatureNotEnabled:   {http.StatusForbidden, "The tenant has not booked this feature"},
	problem.NotFound:            {http.StatusNotFound, "There is no such thing"},
	problem.Conflict:            {http.StatusConflict, "The state does not allow this now"},
	problem.IdempotencyConflict: {http.StatusConflict, "The key was used for other content"},
	problem.PayloadTooLarge:     {http.StatusRequestEntityTooLarge, "The request is too large"},
	problem.RateLimited:         {http.StatusTooManyRequests, "Too many requests"},
	problem.Internal:            {http.StatusInternalServerError, "The service failed"},
	problem.Unavailable:         {http.StatusServiceUnavailable, "The service cannot answer now"},
}

// What one answer lists of fields is bounded: it may be kept with an Idempotency-Key, and a caller makes up names of any length.
const (
	maxFieldErrors = 100
	maxFieldText   = 8 << 10 // bytes, of names and of what is wrong with them
)

func newProblem(e *problem.Error) *Problem {
	kind, known := kinds[e.Code]
	if !known {
		kind = kinds[problem.Internal]
	}
	p := &Problem{
		Type: "urn:ordinavo:problem:" + string(e.Code), Title: kind.title, Status: kind.status, Code: string(e.Code),
		Detail: e.Detail, RequiredScope: e.RequiredScope,
	}
	if len(e.Fields) == 0 {
		return p
	}
	listed := 0
	if p.Errors, listed = listFields(e.Fields); listed < len(e.Fields) {
		p.Detail = fmt.Sprintf("%s Of %d fields the first %d are listed.", p.Detail, len(e.Fields), listed)
	}
	return p
}

// listFields is as many of the fields as an answer has room for, by their names as far as they are shown; listed says how many these are.
func listFields(fields map[string][]string) (list map[string][]string, listed int) {
	list, room := map[string][]string{}, maxFieldText
	for _, path := range slices.Sorted(maps.Keys(fields)) {
		name := cmp.Or(printable(path), wholeBody)
		room -= len(name)
		for _, message := range fields[path] {
			room -= len(message)
		}
		if listed == maxFieldErrors || room < 0 && listed > 0 {
			break
		}
		listed++
		for _, message := range fields[path] {
			if !slices.Contains(list[name], message) { // names that begin alike are shown as one
				list[name] = append(list[name], message)
			}
		}
	}
	return list, listed
}

// refusal is what a caller may know about an error. Its own text stays inside unless it is a problem.
func refusal(err error) *problem.Error {
	var refused *problem.Error
	var fromFiber *fiber.Error
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem.New(problem.Unavailable, "The service could not answer in time; try again.")
	case errors.As(err, &fromFiber):
		return fiberRefusal(fromFiber)
	default:
		return problem.New(problem.Internal, "Something went wrong inside the service; the trace id names it.")
	}
}

func fiberRefusal(err *fiber.Error) *problem.Error {
	switch err.Code {
	case http.StatusNotFound:
		return problem.New(problem.NotFound, "There is no such route; GET /docs shows those that there are.")
	case http.StatusMethodNotAllowed:
		return problem.New(problem.InvalidRequest, "This route does not take this method; GET /docs shows those that there are.")
	case http.StatusRequestEntityTooLarge:
		return problem.New(problem.PayloadTooLarge, "The body is larger than %d bytes.", maxBody)
	case http.StatusRequestHeaderFieldsTooLarge:
		return problem.New(problem.InvalidRequest, "The headers are larger than %d bytes.", maxHeader)
	default:
		return problem.New(problem.InvalidRequest, "The request is not HTTP that this service understands.")
	}
}

// problemOf turns an error into its answer, and remembers it for the request's log line.
func problemOf(ctx context.Context, err error) *Problem {
	p := newProblem(refusal(err))
	if fromFiber := (*fiber.Error)(nil); errors.As(err, &fromFiber) && p.Code == string(problem.InvalidRequest) && fromFiber.Code != http.StatusBadGateway {
		p.Status = fromFiber.Code // HTTP itself went wrong, and has a more precise status for it
	}
	r := recordFrom(ctx)
	if p.TraceID = r.traceID; p.TraceID == "" {
		p.TraceID = drawTraceID()
	}
	r.err = err
	return p
}

// drawTraceID is for a request without a span, such as one that could not be read, so that its answer leads to its line in the log.
func drawTraceID() string {
	var id trace.TraceID
	_, _ = rand.Read(id[:]) // never fails
	return id.String()
}

// answerError writes an error as a problem. Fiber calls it for what no handler answered.
func (a *API) answerError(c *fiber.Ctx, err error) error {
	err = cmp.Or(unread(c), err)
	p := problemOf(c.UserContext(), err)
	if !observed(c.UserContext()) {
		a.Log.Info("request refused unread", slog.Int("status", p.Status), slog.String("error", p.Code), slog.String("trace_id", p.TraceID))
	}
	if strings.Contains(c.GetRespHeader(fiber.HeaderAllow), fiber.MethodGet) {
		c.Append(fiber.HeaderAllow, fiber.MethodHead) // see refuseUnknownMethods
	}
	if c.GetRespHeader(headerLimit) == "" {
		a.limits.untouched(c)
	}
	if seconds := retryAfter(p.Status, err); seconds != "" {
		c.Set(fiber.HeaderRetryAfter, seconds)
	}
	body, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encode a problem: %w", err)
	}
	c.Status(p.Status).Set(fiber.HeaderContentType, contentTypeProblem)
	return c.Send(body)
}

// retryAfter is when to try again, in whole seconds; empty for an answer that time does not change.
func retryAfter(status int, err error) string {
	if status != http.StatusServiceUnavailable && status != http.StatusTooManyRequests {
		return ""
	}
	return strconv.Itoa(max(1, int(math.Ceil(refusal(err).RetryAfter.Seconds()))))
}

// These package variables are the only place where huma lets errors be shaped.
func init() {
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
	huma.NewError = func(status int, message string, causes ...error) huma.StatusError {
		return newProblem(humaRefusal(status, message, causes))
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, causes ...error) huma.StatusError {
		var err error = humaRefusal(status, message, causes)
		if status == http.StatusInternalServerError && len(causes) == 1 {
			err = causes[0] // what a handler returned
		}
		if rules, _ := ctx.Operation().Metadata[metadataRules].(func([]byte) error); rules != nil && status == http.StatusUnprocessableEntity {
			err = joinFields(err, rules(humafiber.Unwrap(ctx).Body()), func(string) bool { return true })
		}
		p := problemOf(ctx.Context(), err)
		if seconds := retryAfter(p.Status, err); seconds != "" {
			ctx.SetHeader(fiber.HeaderRetryAfter, seconds)
		}
		return p
	}
}

// joinFields adds another refusal's messages to one, for the fields that concerns picks and that it does not refuse already.
// It adds nothing to a refusal that names as many fields as an answer lists.
func joinFields(refused, more error, concerns func(path string) bool) error {
	var first, second *problem.Error
	if !errors.As(more, &second) {
		return refused
	}
	joined := problem.Error{Code: second.Code, Detail: second.Detail, Fields: map[string][]string{}}
	if errors.As(refused, &first) {
		if len(first.Fields) >= maxFieldErrors {
			return refused
		}
		joined = *first
		joined.Fields = maps.Clone(first.Fields)
	}
	known := refusedPaths(first, second)
	for path, messages := range second.Fields {
		if concerns(path) && !known[path] {
			joined.Fields[path] = messages
		}
	}
	if len(joined.Fields) == 0 {
		return refused
	}
	return &joined
}

// refusedPaths are the paths of the second refusal at or beneath which the first one names a field; nil is no refusal.
func refusedPaths(first, second *problem.Error) map[string]bool {
	known, longest := map[string]bool{}, 0
	if first == nil {
		return known
	}
	for path := range second.Fields {
		longest = max(longest, len(path))
	}
	for path := range first.Fields {
		known[path] = true
		// A caller may make a name up of a million dots: none of the paths that are asked for is as long.
		for i := 0; i < len(path) && i <= longest; i++ {
			if path[i] == '.' || path[i] == '[' {
				known[path[:i]] = true
			}
		}
	}
	return known
}

// humaRefusal gives huma's own refusals the contract's form.
func humaRefusal(status int, message string, causes []error) *problem.Error {
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return tooLarge(message)
	case len(causes) == 0:
		return problem.New(problem.InvalidRequest, "%s", sentence(message))
	}
	code, fields := problem.ValidationFailed, problem.Collect("")
	// A wrong value is a cause, and there may be thousands: what comes behind those that are listed is only counted.
	for _, cause := range causes[:min(len(causes), maxFieldErrors)] {
		var detail *huma.ErrorDetail
		if !errors.As(cause, &detail) {
			return problem.New(problem.InvalidRequest, "%s", sentence(message))
		}
		if decodeCode, path, text, ok := parseDecodeError(detail.Message); ok {
			code = decodeCode
			fields.Add(path, "%s", text)
			continue
		}
		fields.Add(fieldOf(detail))
	}
	refused := &problem.Error{Code: code, Detail: "The input has fields that are missing or not valid."}
	errors.As(fields.Err(), &refused)
	refused.Code = code
	if len(causes) > maxFieldErrors {
		refused.Detail = fmt.Sprintf("%s Of %d faults the first %d were looked at.", refused.Detail, len(causes), maxFieldErrors)
	}
	if code == problem.InvalidRequest {
		refused.Detail = "The body is not JSON that this service understands."
	}
	return refused
}

// tooLarge names the limit, which only huma's message tells: a route's own is in no other part of the answer.
func tooLarge(message string) *problem.Error {
	var limit int
	if _, err := fmt.Sscanf(message, "request body is too large limit=%d bytes", &limit); err != nil {
		return problem.New(problem.PayloadTooLarge, "The body is larger than this route takes.")
	}
	return problem.New(problem.PayloadTooLarge, "The body is larger than this route takes: it must have fewer than %d bytes.", limit)
}

var missingPrefix, missingSuffix, _ = strings.Cut(validation.MsgExpectedRequiredProperty, "%s")

// fieldOf names the field as callers know it: without body., path., query. or header. before it, and a
// missing field by its own path and not its parent's.
func fieldOf(detail *huma.ErrorDetail) (path, format string, message string) {
	where, path, _ := strings.Cut(detail.Location, ".")
	message = detail.Message
	if missing, isMissing := strings.CutPrefix(message, missingPrefix); isMissing {
		path = problem.Collect(path).Path(strings.TrimSuffix(missing, missingSuffix))
		message = "is missing"
	}
	if message == validation.MsgUnexpectedProperty {
		message = "is not a field that this route knows"
	}
	if message == notATime {
		message = timeAdvice(detail.Value)
	}
	if path == "" {
		path = where
	}
	return path, "%s", message
}

// notATime is huma's message about a value that says of itself that it is an unreadableTime.
const (
	unreadableTime = "not a time"
	notATime       = "invalid value: " + unreadableTime
)

// timeAdvice says how to write a time, and that the + of an offset must be escaped when it seems to have been lost.
func timeAdvice(got any) string {
	if text, _ := got.(string); strings.Contains(text, " ") {
		return "must be a time of RFC 3339, like 2026-06-18T16:40:00Z; the + of an offset is written %2B in a URL"
	}
	return "must be a time of RFC 3339, like 2026-06-18T16:40:00Z"
}

func sentence(text string) string {
	if text == "" {
		return "The request cannot be read."
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
