// Package problem holds the one kind of error that users are meant to see: a
// code of the contract (section 5), a sentence, and the fields it is about.
package problem

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Code is a problem's stable, machine-readable name (contract, section 5).
type Code string

// The codes of the contract; the API maps each to one HTTP status.
const (
	InvalidRequest      Code = "invalid_request"
	ValidationFailed    Code = "validation_failed"
	Unauthorized        Code = "unauthorized"
	Forbidden           Code = "forbidden"
	MissingScope        Code = "missing_scope"
	FeatureNotEnabled   Code = "feature_not_enabled"
	NotFound            Code = "not_found"
	Conflict            Code = "conflict"
	IdempotencyConflict Code = "idempotency_conflict"
	PayloadTooLarge     Code = "payload_too_large"
	RateLimited         Code = "rate_limited"
	Internal            Code = "internal_error"
	Unavailable         Code = "unavailable"
)

// Error is a refusal that the caller can act on.
type Error struct {
	Code   Code
	Detail string
	// Fields maps a field's path, like events[3].visitReport.id, to what is wrong with it.
	Fields map[string][]string
	// RequiredScope is set with MissingScope.
	RequiredScope string
	// RetryAfter is how long to wait before it makes sense to try again, with RateLimited and Unavailable; 0 when unknown.
	RetryAfter time.Duration
}

// Error is the code, the detail and the fields in the order of their paths.
func (e *Error) Error() string {
	var text strings.Builder // which grows by doubling: there may be as many fields as a body has values
	text.WriteString(string(e.Code) + ": " + e.Detail)
	for _, path := range slices.Sorted(maps.Keys(e.Fields)) {
		text.WriteString("; " + path + ": " + strings.Join(e.Fields[path], ", "))
	}
	return text.String()
}

// New makes an Error with a formatted detail.
func New(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Invalid refuses one field of an input.
func Invalid(field, format string, args ...any) error {
	fields := Collect("")
	fields.Add(field, format, args...)
	return fields.Err()
}

// Is reports whether err is, or wraps, an Error with the code.
func Is(err error, code Code) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

// Fields collects what is wrong with each field of an input.
type Fields struct {
	prefix string
	found  map[string][]string
}

// Collect starts a collection whose paths begin with prefix (may be empty).
func Collect(prefix string) Fields {
	return Fields{prefix: prefix, found: map[string][]string{}}
}

// Under is the same collection for the fields of a nested block.
func (f Fields) Under(block string) Fields {
	return Fields{prefix: f.Path(block), found: f.found}
}

// Path is the full path of a field; an index like [3] joins without a dot.
func (f Fields) Path(field string) string {
	switch {
	case f.prefix == "":
		return field
	case field == "" || field[0] == '[':
		return f.prefix + field
	default:
		return f.prefix + "." + field
	}
}

// Add notes one thing that is wrong with a field.
func (f Fields) Add(field, format string, args ...any) {
	path := f.Path(field)
	f.found[path] = append(f.found[path], fmt.Sprintf(format, args...))
}

// CheckText notes what is wrong with a text of one line and at most longest characters (Unicode code points).
func (f Fields) CheckText(field, text string, longest int) {
	if !utf8.ValidString(text) {
		f.Add(field, "is not valid UTF-8")
	} else if utf8.RuneCountInString(text) > longest {
		f.Add(field, "is longer than %d characters", longest)
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		f.Add(field, "has a control character")
	}
}

// Err is nil when nothing was added, else a ValidationFailed with all of it.
func (f Fields) Err() error {
	if len(f.found) == 0 {
		return nil
	}
	return &Error{Code: ValidationFailed, Detail: "The input has fields that are missing or not valid.", Fields: maps.Clone(f.found)}
}

// Index is the path element of an entry of a list: [3].
func Index(i int) string { return fmt.Sprintf("[%d]", i) }
