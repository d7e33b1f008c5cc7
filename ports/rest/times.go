package rest

import (
	"errors"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// lastYear is the last one that a time may be in.
const lastYear = 9999

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
