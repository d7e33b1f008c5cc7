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
)

const (
	refHeaders   = "#/components/headers/"
	refResponses = "#/components/responses/"
)

// rateHeaders are on every answer.
func rateHeaders() []string { return []string{headerLimit, headerRemaining, headerReset} }

// sharedHeaders are the headers that many routes answer with.
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

// sharedResponse describes an error answer with its possible codes, once for all routes that give it; kept says that these routes keep
// their answers by Idempotency-Key.
func sharedResponse(components *huma.Components, status int, kept bool) *huma.Response {
	name := strings.ReplaceAll(http.StatusText(status), " ", "")
	kept = kept && keepable(status)
	if kept {
		name = "Write" + name
	}
	if components.Responses[name] == nil {
		components.Responses[name] = refusalOf(components.Schemas, status, kept)
	}
	return &huma.Response{Ref: refResponses + name}
}

// keepable reports whether an answer is kept: no server error, and no refusal from before the Idempotency-Key is looked at.
func keepable(status int) bool {
	return status < http.StatusInternalServerError && status != http.StatusUnauthorized && status != http.StatusTooManyRequests
}

func refusalOf(registry huma.Registry, status int, kept bool) *huma.Response {
	response := &huma.Response{
		Description: meaning(status), Headers: headersOf(rateHeaders()...),
		Content: map[string]*huma.MediaType{contentTypeProblem: {Schema: registry.Schema(reflect.TypeFor[Problem](), true, "Problem")}},
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
	if kept {
		refer(response, headerReplayed)
	}
	return response
}

// meaning describes the codes that have the status.
func meaning(status int) string {
	var means []string
	for _, code := range slices.Sorted(maps.Keys(kinds)) {
		if kinds[code].status == status {
			means = append(means, fmt.Sprintf("%s: %s.", code, kinds[code].title))
		}
	}
	return strings.Join(means, " ")
}

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

// describeAnswers documents the headers of every answer, once all routes are registered.
func (a *API) describeAnswers() {
	document := a.huma.OpenAPI()
	document.Components.Headers = sharedHeaders()
	for _, item := range document.Paths {
		for _, o := range operationsOf(item) {
			describeSuccess(o)
		}
	}
}

func operationsOf(item *huma.PathItem) []*huma.Operation {
	all := []*huma.Operation{item.Get, item.Put, item.Post, item.Patch, item.Delete}
	return slices.DeleteFunc(all, func(o *huma.Operation) bool { return o == nil })
}

// describeSuccess leaves error answers as they are, since they are shared.
func describeSuccess(o *huma.Operation) {
	for _, response := range o.Responses {
		if response.Ref != "" {
			continue
		}
		for _, own := range response.Headers {
			own.Required = true
		}
		refer(response, rateHeaders()...)
		if slices.ContainsFunc(o.Parameters, func(p *huma.Param) bool { return p.Name == headerIdempotencyKey }) {
			refer(response, headerReplayed)
		}
	}
}
