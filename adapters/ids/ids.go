// Package ids makes the IDs of the contract: a prefix and a ULID.
package ids

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
)

// Source makes IDs that sort in the order in which it made them.
type Source struct {
	now     func() time.Time
	mu      sync.Mutex
	entropy *ulid.MonotonicEntropy
	last    uint64 // milliseconds
}

// New makes a Source. random must be cryptographically secure: nobody should be able to guess an ID.
func New(now func() time.Time, random io.Reader) *Source {
	return &Source{now: now, entropy: ulid.Monotonic(random, 0)}
}

// New makes an ID such as evt_01JZ8A2MT8G7C3Y7V0WQ1M9B3C. It panics when there is no
// randomness left: a process that cannot name things must not go on.
func (s *Source) New(prefix string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last = max(s.last, ulid.Timestamp(s.now())) // a clock that is set back does not disturb the order
	id, err := ulid.New(s.last, s.entropy)
	if err != nil {
		panic(fmt.Sprintf("ids: no randomness: %v", err))
	}
	return prefix + id.String()
}

// First is the first ID that could have been made at the time.
func First(prefix string, at time.Time) string {
	var id ulid.ULID
	_ = id.SetTime(uint64(max(0, at.UnixMilli())))
	return prefix + id.String()
}

// FirstDelivery is the first ID of a delivery that could have been made at the time.
func FirstDelivery(at time.Time) string { return First("dlv_", at) }

// How far the time in an ID may lie from when what it names was made, by the clock of the same process.
const (
	earlier = time.Minute    // the clock was set between the two
	later   = 24 * time.Hour // the clock had been ahead, and was set back
)

// Span bounds the IDs of what was made from since up to until, either of which may be zero: from is inclusive and before is not, and both
// are empty for no bound. It is for searches, which still have to look at the time itself.
func Span(prefix string, since, until time.Time) (from, before string) {
	if !since.IsZero() {
		from = First(prefix, since.Add(-earlier))
	}
	if !until.IsZero() {
		before = First(prefix, until.Add(later))
	}
	return from, before
}
