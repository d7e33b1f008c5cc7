package subscription

import (
	"strings"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/spelling"
)

// Matching is the first pattern that wants the type.
func (f Filter) Matching(t event.Type) (pattern string, ok bool) {
	for _, pattern := range f {
		if (Filter{pattern}).Matches(t) {
			return pattern, true
		}
	}
	return "", false
}

// Nearest is the pattern that differs least from the type, the first of equals. A pattern of another family is farther than any
// of the same.
func (f Filter) Nearest(t event.Type) (pattern string) {
	least := -1
	for _, candidate := range f {
		d := spelling.Distance(candidate, string(t))
		if !strings.HasPrefix(candidate, string(t.Family())+".") {
			d += len(candidate) + len(t)
		}
		if least < 0 || d < least {
			pattern, least = candidate, d
		}
	}
	return pattern
}
