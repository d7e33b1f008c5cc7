package rest

import (
	"embed"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
)

//go:embed docs/index.html docs/docs.css docs/docs.js
var docsFiles embed.FS

// docsPolicy lets the page load its own two files and ask this service for the document, and nothing else:
// whatever a description may contain, no browser fetches anything elsewhere for it.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// routeDocs serves the documents about the API, and the page that shows them.
func (a *API) routeDocs() {
	a.routeDocument("getOpenAPI", "/openapi.json", "This document", func() []byte { return a.document() })
	a.routeDocument("getAsyncAPI", "/asyncapi.json", "The AsyncAPI document of what receivers get", func() []byte { return a.asyncDocument() })
	page := operation{id: "getDocs", method: http.MethodGet, path: "/docs", tag: tagService, public: true,
		produces: fiber.MIMETextHTML, summary: "This document as a page", description: "The page loads nothing from elsewhere."}.describe(a)
	registerRaw(a, page, func(ctx huma.Context) error {
		return docsFile("index.html", fiber.MIMETextHTMLCharsetUTF8)(humafiber.Unwrap(ctx))
	})
	a.app.Get("/", a.welcome)
	a.app.Get("/docs/docs.css", docsFile("docs.css", "text/css; charset=utf-8"))
	a.app.Get("/docs/docs.js", docsFile("docs.js", "text/javascript; charset=utf-8"))
}

// welcome points a caller who knows only the address to the documents.
func (a *API) welcome(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentType, contentTypeJSON)
	return writeJSON(c, map[string]string{"service": "Ordinavo Webhooks", "version": a.Version, "docs": "/docs", "openapi": "/openapi.json", "asyncapi": "/asyncapi.json"})
}

// routeDocument serves a document that is complete once all routes are registered.
func (a *API) routeDocument(id, path, summary string, document func() []byte) {
	described := operation{id: id, method: http.MethodGet, path: path, tag: tagService, public: true, summary: summary}.describe(a)
	described.Responses["200"] = &huma.Response{Description: "OK", Content: map[string]*huma.MediaType{
		contentTypeJSON: {Schema: &huma.Schema{Type: huma.TypeObject}}}}
	registerRaw(a, described, func(ctx huma.Context) error {
		c := humafiber.Unwrap(ctx)
		c.Set(fiber.HeaderContentType, contentTypeJSON)
		return c.Send(document())
	})
}

func docsFile(name, contentType string) fiber.Handler {
	content, err := docsFiles.ReadFile("docs/" + name)
	if err != nil {
		panic(fmt.Errorf("read the documentation's %s: %w", name, err)) // it is built in
	}
	return func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, contentType)
		c.Set(fiber.HeaderContentSecurityPolicy, docsPolicy)
		c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
		c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
		c.Set(fiber.HeaderCacheControl, "no-cache")
		return c.Send(content)
	}
}
