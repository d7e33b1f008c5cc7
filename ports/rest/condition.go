package rest

import (
	"bytes"
	"context"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/subscriptions"
	"github.com/ordinavo/webhooks/domain/problem"
)

// Condition makes a change depend on the version that the caller has seen.
type Condition struct {
	IfMatch string `header:"If-Match" minLength:"1" maxLength:"100" doc:"The ETag that the change is meant for, or *. With another version the answer is 409 conflict."`
}

const ifMatchAdvice = `must be an ETag like "3", a list of them, or *`

// Resolve is called by huma, which reads the first line of a header, and takes one without a value for none: a client that has lost its ETag, and
// sends what is left of it, would overwrite what somebody else has changed. Several lines are one list (RFC 9110, section 5.3).
func (c *Condition) Resolve(ctx huma.Context) []error {
	var sent bool
	if c.IfMatch, sent = conditionOf(humafiber.Unwrap(ctx)); !sent || c.IfMatch != "" {
		return nil
	}
	return []error{&huma.ErrorDetail{Location: "header." + fiber.HeaderIfMatch, Message: ifMatchAdvice}}
}

// conditionOf is all lines of If-Match as one.
func conditionOf(c *fiber.Ctx) (condition string, sent bool) {
	lines := c.Request().Header.PeekAll(fiber.HeaderIfMatch)
	return string(bytes.TrimSpace(bytes.Join(lines, []byte(", ")))), len(lines) > 0
}

// target is the subscription that a change is about, and the version it is meant for.
func (a *API) target(ctx context.Context, ref SubscriptionRef, condition Condition) (dispatch.Lane, int64, error) {
	versions, foreign, err := condition.versions()
	if err != nil {
		return dispatch.Lane{}, 0, err
	}
	l, err := lane(ctx, ref.ID)
	if err != nil || versions == nil {
		return l, subscriptions.AnyVersion, err
	}
	now, err := a.Subscriptions.Get(ctx, l)
	switch {
	case err != nil:
		return l, noVersion, err
	case slices.Contains(versions, now.Version):
		return l, now.Version, nil
	case foreign: // to read it again, as others are told to, gets another such one
		return l, noVersion, problem.New(problem.Conflict, `An ETag like W/"3" or "3-gzip" is that of no version; a proxy that compresses answers makes such ones. Send "3", without the W/ or the ending.`)
	}
	return l, noVersion, nil
}

// noVersion is a version that no subscription ever has.
const noVersion = -1

// etags is the form of If-Match: a list of entity tags (RFC 9110, section 13.1.1).
var etags = regexp.MustCompile(`^(W/)?"[!#-~]*"(\s*,\s*(W/)?"[!#-~]*")*$`)

// versions are those that the condition allows, none for any, and whether one of its tags is none that this service gives. Weak tags never
// match, since the comparison is strong.
func (c Condition) versions() (versions []int64, foreign bool, err error) {
	if c.IfMatch == "" || c.IfMatch == "*" {
		return nil, false, nil
	}
	if !etags.MatchString(c.IfMatch) {
		return nil, false, problem.Invalid(fiber.HeaderIfMatch, ifMatchAdvice)
	}
	versions = []int64{noVersion}
	for _, tag := range strings.Split(c.IfMatch, ",") {
		tag = strings.TrimSpace(tag)
		version, err := strconv.ParseInt(strings.Trim(tag, `"`), 10, 64)
		if err != nil || tag != etag(version) {
			foreign = true
			continue
		}
		versions = append(versions, version)
	}
	return versions, foreign, nil
}
