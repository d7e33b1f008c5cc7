package rest

import (
	"mime"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/domain/problem"
)

const (
	contentTypeJSON   = "application/json"
	contentTypeNDJSON = "application/x-ndjson"
)

// guard refuses what no route understands, before any route reads it.
func (a *API) guard(c *fiber.Ctx) error {
	closeAsAsked(c)
	if err := checkFraming(c); err != nil {
		return err
	}
	if err := checkPath(c); err != nil {
		return err
	}
	if length := max(c.Request().Header.ContentLength(), len(c.Request().Body())); length > maxBody {
		return problem.New(problem.PayloadTooLarge, "The body has %d bytes, at most %d are allowed.", length, maxBody)
	}
	if coding := c.Get(fiber.HeaderContentEncoding); coding != "" && !strings.EqualFold(coding, "identity") {
		return problem.New(problem.InvalidRequest, "The body must not be compressed (Content-Encoding %s).", printable(coding))
	}
	if _, err := contentType(c); err != nil {
		return err
	}
	if err := checkQuery(string(c.Request().RequestURI())); err != nil {
		return err
	}
	if strings.HasPrefix(c.Path(), "/v1/") {
		c.Request().Header.Set(fiber.HeaderAccept, contentTypeJSON) // it is JSON whatever the caller would rather have
	}
	return c.Next()
}

// checkPath refuses a spelling that only this service would read as one of its routes: a proxy's rule for /metrics or /v1/tenants
// does not match %6detrics or v1%2Ftenants. Ids may be percent-encoded; see plainlyRouted.
func checkPath(c *fiber.Ctx) error {
	path := string(c.Request().URI().PathOriginal())
	if !strings.Contains(path, "%") {
		return nil
	}
	if !strings.HasPrefix(path, "/v1/") || strings.Contains(strings.ToLower(path), "%2f") {
		return fiber.ErrNotFound
	}
	recordFrom(c.UserContext()).encodedPath = path
	return nil
}

// plainlyRouted refuses a path whose route is spelled with percent-encoding, other than in its parameters.
func plainlyRouted(c *fiber.Ctx) error {
	path := recordFrom(c.UserContext()).encodedPath
	if path == "" {
		return nil
	}
	sent := strings.Split(path, "/")
	for i, segment := range strings.Split(c.Route().Path, "/") {
		if !strings.HasPrefix(segment, ":") && (i >= len(sent) || sent[i] != segment) {
			return fiber.ErrNotFound
		}
	}
	return nil
}

// contentType is the body's media type; a body without one counts as JSON.
func contentType(c *fiber.Ctx) (string, error) {
	header := c.Get(fiber.HeaderContentType)
	if header == "" || len(c.Request().Body()) == 0 {
		return contentTypeJSON, nil
	}
	mediaType, parameters, err := mime.ParseMediaType(header)
	takesLines := c.Method() == fiber.MethodPost && c.Path() == pathEvents
	switch {
	case err == nil && (mediaType == contentTypeJSON || takesLines && mediaType == contentTypeNDJSON):
	case takesLines:
		return "", problem.New(problem.InvalidRequest, "The Content-Type must be application/json, or application/x-ndjson for an event a line.")
	default:
		return "", problem.New(problem.InvalidRequest, "The Content-Type must be application/json.")
	}
	if charset := parameters["charset"]; charset != "" && !strings.EqualFold(charset, "utf-8") {
		return "", problem.New(problem.InvalidRequest, "The body must be UTF-8.")
	}
	return mediaType, nil
}

// checkQuery refuses what the routes would otherwise read as something else: a parameter given twice,
// broken escapes, control characters.
func checkQuery(uri string) error {
	parsed, err := url.ParseRequestURI(uri)
	if err != nil {
		return problem.New(problem.InvalidRequest, "The request's path is not valid.")
	}
	if !cleanText(parsed.Path) {
		return problem.New(problem.InvalidRequest, "The request's path has a character that is not allowed.")
	}
	query, err := url.ParseQuery(parsed.RawQuery)
	if err != nil {
		return problem.New(problem.InvalidRequest, "The request's query is not valid.")
	}
	fields := problem.Collect("")
	for name, values := range query {
		if len(values) > 1 {
			fields.Add(printable(name), "is there twice")
		}
		if !cleanText(name) || !cleanText(values[0]) {
			fields.Add(printable(name), "has a control character, or is not valid UTF-8")
		}
	}
	return fields.Err()
}

func cleanText(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
