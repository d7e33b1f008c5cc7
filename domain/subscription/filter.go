package subscription

import (
	"slices"
	"strings"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
)

// MaxPatterns bounds a filter.
const MaxPatterns = 50

// Filter is the list of event types that a subscription wants: exact ones, family.*, or *, which is everything that product
// services emit. Operational events go only to those that ask for them by name or by ordinavo.*.
type Filter []string

// Matches reports whether the filter wants the type.
func (f Filter) Matches(t event.Type) bool {
	for _, pattern := range f {
		if pattern == "*" && !t.IsOperational() || pattern == string(t) || pattern == string(t.Family())+".*" {
			return true
		}
	}
	return false
}

// NamesBilling reports whether a pattern names billing events that before did not name. * does not name them: it includes them where
// the tenant has the feature.
func (f Filter) NamesBilling(before Filter) bool {
	const family = string(event.FamilyBilling) + "."
	return !slices.Contains(before, family+"*") && slices.ContainsFunc(f, func(pattern string) bool {
		return strings.HasPrefix(pattern, family) && !slices.Contains(before, pattern)
	})
}

// Validate notes every pattern that names nothing.
func (f Filter) Validate(into problem.Fields) {
	if len(f) == 0 {
		into.Add("eventTypes", "needs at least one event type, a family like visit_report.*, or *")
	}
	if len(f) > MaxPatterns {
		into.Add("eventTypes", "has %d entries, at most %d are allowed", len(f), MaxPatterns)
		return
	}
	entries := into.Under("eventTypes")
	for i, pattern := range f {
		if !validPattern(pattern) {
			entries.Add(problem.Index(i), "is neither a known event type, nor a family like visit_report.*, nor *")
		} else if slices.Contains(f[:i], pattern) {
			entries.Add(problem.Index(i), "is there twice")
		}
	}
}

func validPattern(pattern string) bool {
	family, isFamily := strings.CutSuffix(pattern, ".*")
	return pattern == "*" || slices.ContainsFunc(event.AllTypes(), func(t event.Type) bool {
		return string(t) == pattern || isFamily && string(t.Family()) == family
	})
}
