package rest

import (
	"errors"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
)

// queryTime is a time in a query that knows whether it was given: Go's zero time, which is the default of other languages too, is refused
// when it is sent, and not taken for an absent one, which would widen what is asked for.
type queryTime struct {
	time.Time
	given bool
}

// UnmarshalText is called by huma to read it.
func (q *queryTime) UnmarshalText(text []byte) (err error) {
	if q.Time, err = event.ParseTime(string(text)); err != nil {
		return errors.New(unreadableTime)
	}
	return nil
}

// OnParamSet is called by huma when there is one.
func (q *queryTime) OnParamSet(given bool, _ any) { q.given = given }

// Schema is a time's.
func (queryTime) Schema(huma.Registry) *huma.Schema { return moment() }

// wanted is the time that was given, nil if none was.
func (q queryTime) wanted() *time.Time {
	if !q.given {
		return nil
	}
	return &q.Time
}

// The years that a time which is sent may be in.
const (
	firstYear = 1970
	lastYear  = 9999
)

// checkYear refuses a time that a store or an answer cannot hold; nil is none.
func checkYear(name string, at *time.Time) error {
	if at == nil {
		return nil
	}
	if year := at.UTC().Year(); year < firstYear || year > lastYear {
		return problem.Invalid(name, "must be in the years %d to %d", firstYear, lastYear)
	}
	return nil
}

// checkPeriod refuses what checkYear does, and a period that ends before it begins; an end that is nil is open.
func checkPeriod(since, until *time.Time) error {
	if err := checkYear("since", since); err != nil {
		return err
	}
	if err := checkYear("until", until); err != nil {
		return err
	}
	if since != nil && until != nil && until.Before(*since) {
		return problem.Invalid("until", "is before since")
	}
	return nil
}

// shownTimes lets every time be written: RFC 3339 has four digits for the year, and one stored time without a form would fail each list that
// it is on. Such a time is shown as the nearest one that has a form.
var shownTimes = json.WithMarshalers(json.MarshalToFunc(func(to *jsontext.Encoder, at time.Time) error {
	switch year := at.Year(); {
	case year < 0:
		at = time.Date(0, time.January, 1, 0, 0, 0, 0, time.UTC)
	case year > lastYear:
		at = time.Date(lastYear, time.December, 31, 23, 59, 59, 0, time.UTC)
	default:
		return errors.ErrUnsupported
	}
	return to.WriteToken(jsontext.String(at.Format(time.RFC3339)))
}))
