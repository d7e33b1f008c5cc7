package rest

import (
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/domain/problem"
)

const (
	refHeaders   = "#/components/headers/"
	refResponses = "#/components/responses/"
)

// rateHeaders are on every answer.
func rateHeaders() []string { return []string{headerLimit, headerRemaining, headerReset} }

// sharedHeaders is the headers that answers of many routes have.
func sharedHeaders() map[string]*huma.Header {
	count := func(description string) *huma.Header {
		return &huma.Header{Description: description, Required: true, Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: new(0.0)}}
	}
	none := strconv.Itoa(unlimited)
	return map[string]*huma.Header{
		headerLimit:            count("Requests a second, of the key or of all the tenant's keys, whichever leaves less; " + none + " where there is no limit."),
		headerRemaining:        count("What is left of the limit now; 0 when the request was refused, " + none + " where there is no limit."),
		headerReset:            count("Seconds until the whole allowance is there again."),
		fiber.HeaderRetryAfter: {Description: "Seconds to wait before the next try.", Required: true, Schema: &huma.Schema{Type: huma.TypeInteger, Minimum: new(1.0)}},
		headerReplayed:         {Description: "On an answer that was kept with its Idempotency-Key.", Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"true"}}},
	}
}

// refusals are the errors that some route answers, by status.
func refusals() map[int][]problem.Code {
	byStatus := map[int][]problem.Code{}
	for _, code := range slices.Sorted(maps.Keys(kinds)) {
		byStatus[kinds[code].status] = append(byStatus[kinds[code].status], code)
	}
	return byStatus
}

// sharedResponses describes the answers that say no, each with the codes that it can have.
func sharedResponses(registry huma.Registry) map[string]*huma.Response {
	schema := registry.Schema(reflect.TypeFor[Problem](), true, "Problem")
	shared := map[string]*huma.Response{}
	for status, codes := range refusals() {
		means := make([]string, 0, len(codes))
		for _, code := range codes {
			means = append(means, fmt.Sprintf("%s: %s.", code, kinds[code].title))
		}
		response := &huma.Response{
			Description: strings.Join(means, " "), Headers: headersOf(rateHeaders()...),
			Content: map[string]*huma.MediaType{contentTypeProblem: {Schema: schema}},
		}
		switch status {
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			refer(response, fiber.HeaderRetryAfter)
		case http.StatusUnauthorized:
			response.Headers[fiber.HeaderWWWAuthenticate] = &huma.Header{Required: true, Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"Bearer"}}}
		case http.StatusConflict:
			response.Headers[fiber.HeaderRetryAfter] = &huma.Header{
				Description: "Seconds, when the first request with the Idempotency-Key is still being worked on.", Schema: &huma.Schema{Type: huma.TypeInteger},
			}
		}
		if status < http.StatusInternalServerError {
			refer(response, headerReplayed)
		}
		shared[responseName(status)] = response
	}
	return shared
}

// responseName is what the document calls an answer of many routes: NotFound.
func responseName(status int) string { return strings.ReplaceAll(http.StatusText(status), " ", "") }

func headersOf(names ...string) map[string]*huma.Header {
	headers := map[string]*huma.Header{}
	for _, name := range names {
		headers[name] = &huma.Header{Ref: refHeaders + name}
	}
	return headers
}

func refer(response *huma.Response, names ...string) {
	if response.Headers == nil {
		response.Headers = map[string]*huma.Header{}
	}
	maps.Copy(response.Headers, headersOf(names...))
}

// describeAnswers says of every answer which headers it has. It comes when all routes are there.
func (a *API) describeAnswers() {
	document := a.huma.OpenAPI()
	document.Components.Headers = sharedHeaders()
	document.Components.Responses = sharedResponses(document.Components.Schemas)
	for _, item := range document.Paths {
		for _, o := range []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete} {
			if o != nil {
				describeSuccess(o)
			}
		}
	}
}

// describeSuccess leaves the answers that say no as they are, which are shared.
func describeSuccess(o *huma.Operation) {
	for _, response := range o.Responses {
		if response.Ref != "" {
			continue
		}
		for _, own := range response.Headers {
			own.Required = true
		}
		refer(response, rateHeaders()...)
		if len(o.Security) > 0 && o.Method != http.MethodGet {
			refer(response, headerReplayed)
		}
	}
}
