package rest

import (
	"bytes"
	"cmp"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
)

// object reads an object; member is called with the name of each member and must read its value.
func (r *eventReader) object(at problem.Fields, member func(name []byte) error) error {
	if ok, err := r.expect(at, "", '{', "must be an object"); !ok {
		return err
	}
	if _, err := r.decoder.ReadToken(); err != nil {
		return err
	}
	for r.decoder.PeekKind() != '}' {
		raw, err := r.decoder.ReadValue()
		if err != nil {
			return err
		}
		unquoted := raw[1 : len(raw)-1]
		if bytes.IndexByte(unquoted, '\\') >= 0 {
			if r.scratch, err = jsontext.AppendUnquote(r.scratch[:0], raw); err != nil {
				return err
			}
			unquoted = r.scratch
		}
		if err := member(unquoted); err != nil {
			return err
		}
	}
	_, err := r.decoder.ReadToken()
	return err
}

// expect notes and skips a value of another kind than wanted.
func (r *eventReader) expect(at problem.Fields, name string, kind jsontext.Kind, message string) (bool, error) {
	switch r.decoder.PeekKind() {
	case kind:
		return true, nil
	case jsontext.KindInvalid:
		_, err := r.decoder.ReadToken()
		return false, err
	default:
		err := r.decoder.SkipValue()
		if path := at.Path(name); err == nil && path == "" {
			return false, &decodeError{problem.ValidationFailed, wholeBody, message}
		}
		at.Add(name, "%s", message)
		return false, err
	}
}

// null reads a null, which counts as an absent field.
func (r *eventReader) null() (bool, error) {
	if r.decoder.PeekKind() != 'n' {
		return false, nil
	}
	return true, r.decoder.SkipValue()
}

func (r *eventReader) text(at problem.Fields, name string, set func(string)) error {
	if done, err := r.null(); done {
		return err
	}
	if ok, err := r.expect(at, name, '"', "must be a string"); !ok {
		return err
	}
	token, err := r.decoder.ReadToken()
	if err == nil {
		set(token.String())
	}
	return err
}

// identifier refuses an empty text: whoever sends one meant to name something, and must not be given a generated one.
func (r *eventReader) identifier(at problem.Fields, name string, set func(string)) error {
	return r.text(at, name, func(s string) {
		if s == "" {
			at.Add(name, "must not be empty")
		}
		set(s)
	})
}

func (r *eventReader) optionalText(at problem.Fields, name string, into **string) error {
	return r.text(at, name, func(s string) { *into = &s })
}

func (r *eventReader) moment(at problem.Fields, name string, set func(time.Time)) error {
	return r.text(at, name, func(s string) {
		t, err := event.ParseTime(s)
		if err != nil {
			at.Add(name, "must be a time of RFC 3339, like 2026-06-18T16:40:00Z")
			return
		}
		set(t)
	})
}

// occurredAt is cut to what is stored: with more digits a receiver would get another time than the API shows, and the event sent again with
// the API's time would not be a duplicate.
func (r *eventReader) occurredAt(at problem.Fields, e *event.Event) error {
	return r.moment(at, "occurredAt", func(t time.Time) {
		if e.OccurredAt = t.Truncate(time.Microsecond); e.OccurredAt.IsZero() {
			at.Add("occurredAt", "must be later than the beginning of the year 1, which stands for no time")
		}
	})
}

func (r *eventReader) optionalMoment(at problem.Fields, name string, into **time.Time) error {
	return r.moment(at, name, func(t time.Time) { *into = &t })
}

func (r *eventReader) optionalInteger(at problem.Fields, name string, into **int64) error {
	return r.integer(at, name, func(n int64) { *into = &n })
}

func (r *eventReader) integer(at problem.Fields, name string, set func(int64)) error {
	if done, err := r.null(); done {
		return err
	}
	if ok, err := r.expect(at, name, '0', "must be a whole number"); !ok {
		return err
	}
	raw, err := r.decoder.ReadValue()
	if err != nil {
		return err
	}
	number, ok := wholeNumber(string(raw))
	if !ok {
		at.Add(name, "must be a whole number up to 2^53-1")
		return nil
	}
	set(number)
	return nil
}

// A spelling is worked out to its last digit, so its length in bytes and its power of ten are bounded.
const (
	longestNumber = 100
	highestPower  = 100
)

// wholeNumber also takes the spellings 12.0 and 1.2e1. It rounds nothing: a float takes 4503599627370497.5 for its neighbour.
func wholeNumber(text string) (int64, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		_, power, _ := strings.Cut(strings.ToLower(text), "e")
		if p, err := strconv.Atoi(cmp.Or(power, "0")); err != nil || max(p, -p) > highestPower || len(text) > longestNumber {
			return 0, false
		}
		exact, ok := new(big.Rat).SetString(text)
		if !ok || !exact.IsInt() || !exact.Num().IsInt64() {
			return 0, false
		}
		n = exact.Num().Int64()
	}
	return n, n <= maxNumber && n >= -maxNumber
}

// wholeNumbers reads into integers what the document allows of them: every spelling of a whole number.
var wholeNumbers = json.WithUnmarshalers(json.JoinUnmarshalers(json.UnmarshalFromFunc(readWhole[int64]), json.UnmarshalFromFunc(readWhole[int])))

func readWhole[N int | int64](decoder *jsontext.Decoder, into *N) error {
	if decoder.PeekKind() != '0' {
		return errors.ErrUnsupported
	}
	raw, err := decoder.ReadValue()
	if err != nil {
		return err
	}
	number, ok := wholeNumber(string(raw))
	if !ok {
		return strconv.ErrRange
	}
	*into = N(number)
	return nil
}

func (r *eventReader) optionalBool(at problem.Fields, name string, into **bool) error {
	if done, err := r.null(); done {
		return err
	}
	switch kind := r.decoder.PeekKind(); kind {
	case 't', 'f':
		value := kind == 't'
		*into = &value
		return r.decoder.SkipValue()
	default:
		_, err := r.expect(at, name, 't', "must be true or false")
		return err
	}
}
