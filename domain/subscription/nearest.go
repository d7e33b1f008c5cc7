package subscription

import (
	"strings"

	"github.com/ordinavo/webhooks/domain/event"
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

// Nearest is the pattern that is the least different from the type; the first of equals. A pattern of
// another family is farther than any of the same.
func (f Filter) Nearest(t event.Type) (pattern string) {
	least := -1
	for _, candidate := range f {
		d := distance(candidate, string(t))
		if !strings.HasPrefix(candidate, string(t.Family())+".") {
			d += len(candidate) + len(t)
		}
		if least < 0 || d < least {
			pattern, least = candidate, d
		}
	}
	return pattern
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substituted := diagonal
			if a[i] != b[j] {
				substituted++
			}
			diagonal = row[j+1]
			row[j+1] = min(substituted, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
