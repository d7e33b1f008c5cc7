package rest

import (
	"bytes"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/ordinavo/webhooks/domain/problem"
)

// checkFraming refuses what a proxy in front of this service could read as a different request, or as several (request smuggling; RFC 9112,
// sections 2.2, 2.3, 3.2, 5.1, 5.2, 6.1, 6.3 and 7.1.2). The HTTP library lets all of it pass. The connection is closed after it, since
// nobody knows where the next request begins.
func checkFraming(c *fiber.Ctx) error {
	if err := unread(c); err != nil { // the library accepts a body whose end it could not read
		c.Context().SetConnectionClose()
		return err
	}
	if wrong := misframed(&c.Context().Request.Header); wrong != "" {
		c.Context().SetConnectionClose()
		return unsound(wrong)
	}
	return nil
}

// closeAsAsked closes the connection after the answer for every spelling of the option (RFC 9112, section 9.6): the library knows one, and a
// client that reads until the end would wait for as long as the connection may be idle.
func closeAsAsked(c *fiber.Ctx) {
	for line := range bytes.Lines(c.Request().Header.RawHeaders()) { // of several lines the library forgets an earlier close
		name, options, _ := bytes.Cut(line, []byte(":"))
		if !bytes.EqualFold(name, []byte(fiber.HeaderConnection)) {
			continue
		}
		for option := range strings.SplitSeq(string(options), ",") {
			if strings.EqualFold(strings.TrimSpace(option), "close") {
				c.Context().SetConnectionClose()
			}
		}
	}
}

func unsound(wrong string) *problem.Error {
	return problem.New(problem.InvalidRequest, "The request is not sound HTTP/1.1: %s.", wrong)
}

// misframed says what is wrong with the header section as it was sent; empty when nothing is.
func misframed(header *fasthttp.RequestHeader) string {
	version := string(header.Protocol())
	if version != "HTTP/1.1" && version != "HTTP/1.0" {
		return "its version is neither 1.1 nor 1.0"
	}
	sent, coding := map[string]int{}, ""
	for line := range bytes.Lines(header.RawHeaders()) {
		name, wrong := fieldName(line)
		if wrong != "" {
			return wrong
		}
		sent[name]++
		if name == "transfer-encoding" {
			_, value, _ := bytes.Cut(line, []byte(":"))
			coding = string(bytes.TrimSpace(value))
		}
	}
	for _, name := range []string{"host", "content-length", "transfer-encoding", "content-type", "content-encoding", "authorization", tenantField} {
		if sent[name] > 1 {
			return "it has the header " + name + " twice"
		}
	}
	if sent["host"] == 0 && version == "HTTP/1.1" {
		return "it has no header host"
	}
	if sent["transfer-encoding"] > 0 {
		return misframedChunks(header, version, coding, sent)
	}
	return ""
}

var tenantField = strings.ToLower(headerTenant)

// fieldName is a header line's name in lower case; empty for the line that ends the section.
func fieldName(line []byte) (name, wrong string) {
	text, ended := bytes.CutSuffix(line, []byte("\r\n"))
	switch {
	case !ended:
		return "", "a header line does not end in CR LF"
	case len(text) == 0:
		return "", ""
	case text[0] == ' ' || text[0] == '\t':
		return "", wrongFolded
	}
	before, _, _ := bytes.Cut(text, []byte(":"))
	if bytes.ContainsAny(before, " \t") {
		return "", "a header's name has white space in it or behind it"
	}
	return strings.ToLower(string(before)), ""
}

// misframedChunks is misframed for a request with Transfer-Encoding.
func misframedChunks(header *fasthttp.RequestHeader, version, coding string, sent map[string]int) string {
	switch {
	case sent["content-length"] > 0:
		return "it has both Content-Length and Transfer-Encoding"
	case version == "HTTP/1.0":
		return "HTTP/1.0 has no Transfer-Encoding"
	case !strings.EqualFold(coding, "chunked"):
		return "its Transfer-Encoding is not chunked"
	}
	if header.ContentLength() == 0 {
		sent["content-length"]++ // by the library, to an empty body in chunks
	}
	// The library adds the fields after the last chunk to the headers, where they could pass for headers.
	for name := range header.All() {
		if sent[strings.ToLower(string(name))] == 0 {
			return "it has fields behind its last chunk"
		}
	}
	return ""
}

// chunked is the ContentLength that the library gives a chunked body.
const chunked = -1
