package delivery

import (
	"bytes"
	"strconv"
	"time"
)

// End is when and how an attempt ended. The duration is 0 where nobody knows it.
type End struct {
	Kind     Kind
	At       time.Time
	Duration time.Duration
}

// EndOf is what a change says of an attempt; false for a change that is not about one.
func EndOf(c Change) (e End, ok bool) {
	attempt, at, ok := ended(c)
	return End{attempt.Kind, at, attempt.Duration}, ok
}

// AttemptOf is the attempt that a change ended; false for any other change.
func AttemptOf(c Change) (Attempt, bool) {
	attempt, _, ok := ended(c)
	return attempt, ok
}

// ended is the attempt that a change ended, and when.
func ended(c Change) (attempt Attempt, at time.Time, ok bool) {
	switch c := c.(type) {
	case AttemptSucceeded:
		return c.Attempt, c.At, true
	case AttemptFailed:
		return c.Attempt, c.At, true
	case AttemptAbandoned:
		return c.Unknown(), c.At, true
	}
	return Attempt{}, time.Time{}, false
}

// EndTypes are the stored names of the changes that EndOf knows.
func EndTypes() []string {
	return []string{typeAttemptSucceeded, typeAttemptFailed, typeAttemptAbandoned}
}

// DecodeEnd is EndOf of what Decode returns. It stops reading after what it needs, since whoever counts attempts reads them
// all.
func DecodeEnd(name string, data []byte) (e End, ok bool, err error) {
	if e, ok = scanEnd(data); ok && (name == typeAttemptSucceeded || name == typeAttemptFailed) {
		return e, true, nil
	}
	c, err := Decode(name, data)
	if err != nil {
		return End{}, false, err
	}
	e, ok = EndOf(c)
	return e, ok, nil
}

// scanEnd reads the form in which Encode writes an attempt with an outcome; false for any other form.
func scanEnd(data []byte) (e End, ok bool) {
	s := scanner{rest: data}
	at := s.between(`{"at":"`, `"`)
	s.between(`,"attempt":{"number":`, `,`)
	kind := s.between(`"outcome":"`, `"`)
	s.between(`,"startedAt":"`, `"`)
	duration := s.between(`,"durationNs":`, `,}`)
	if s.failed || bytes.IndexByte(kind, '\\') >= 0 || e.At.UnmarshalText(at) != nil {
		return End{}, false
	}
	n, err := strconv.ParseInt(string(duration), 10, 64)
	if e.Kind, e.Duration = KindSucceeded, time.Duration(n); string(kind) != string(KindSucceeded) {
		e.Kind = Kind(kind)
	}
	return e, err == nil
}

// scanner takes texts off the front of what is left.
type scanner struct {
	rest   []byte
	failed bool
}

// between is what stands between a text and the next of some characters.
func (s *scanner) between(before, ends string) []byte {
	rest, found := bytes.CutPrefix(s.rest, []byte(before))
	end := bytes.IndexAny(rest, ends)
	if !found || end < 0 {
		s.failed, s.rest = true, nil
		return nil
	}
	s.rest = rest[end+1:]
	return rest[:end]
}
