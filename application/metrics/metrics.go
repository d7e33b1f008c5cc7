// Package metrics counts attempts over time, in a projection of the log of deliveries that is kept up in the background. It
// also reports how much is waiting.
package metrics

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ordinavo/webhooks/application/loop"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Grain is the shortest interval that is counted separately.
const Grain = time.Minute

// Attempt is an attempt as the log has it.
type Attempt struct {
	Tenant         tenant.ID
	SubscriptionID string
	EventType      event.Type
	delivery.End
}

// Key is what attempts are counted by.
type Key struct {
	Tenant         tenant.ID
	Minute         int64 // since 1970, in which they ended
	SubscriptionID string
	EventType      event.Type
	Outcome        delivery.Kind
	Bucket         int // of the duration; see BucketOf
}

// Generation numbers the copies of the counts. Each has its own offset in the log, and readers see one: the live one.
type Generation int64

// Live stands for whichever generation is live.
const Live Generation = 0

// Store keeps the counts, and how far the log is counted.
type Store interface {
	InTx(ctx context.Context, fn func(ctx context.Context) error) error
	// MetricsOffset is up to where the log of deliveries is counted in a generation, and which generation that is.
	MetricsOffset(ctx context.Context, of Generation) (Generation, int64, error)
	// NextAttempts reads at most limit records beyond a position, oldest first. It returns the attempts among them whose
	// delivery still exists and whose record can be read, the last record's position, and how many records there were.
	NextAttempts(ctx context.Context, after int64, limit int) (attempts []Attempt, last int64, read int, err error)
	// MoveMetricsOffset is false when somebody else has moved it, or the generation is neither live nor the newest.
	MoveMetricsOffset(ctx context.Context, of Generation, from, to int64) (moved bool, err error)
	// AddAttempts adds to the counts.
	AddAttempts(ctx context.Context, to Generation, counts map[Key]int64) error
}

const (
	readAtOnce = 2000
	restFor    = 2 * time.Second  // when little is left to count, so that many attempts share a row
	standBy    = 15 * time.Second // when another process counts
)

// Projection keeps the counts up.
type Projection struct {
	store Store
	now   func() time.Time
}

// NewProjection makes a Projection.
func NewProjection(store Store, now func() time.Time) *Projection { return &Projection{store, now} }

// Loop is the projection's step.
func (p *Projection) Loop() loop.Loop { return loop.Loop{Name: "metrics", Step: p.Step} }

// errOvertaken says that another process has counted the same records first.
var errOvertaken = errors.New("the records were counted by another process")

// Step counts the next records. They are read and decoded outside any transaction; the counts and the offset commit together, so
// nothing is counted twice.
func (p *Projection) Step(ctx context.Context) (time.Time, error) {
	live, offset, err := p.store.MetricsOffset(ctx, Live)
	if err != nil {
		return time.Time{}, fmt.Errorf("find how far attempts are counted: %w", err)
	}
	s, err := readSpan(ctx, p.store, offset)
	if err == nil && s.read > 0 {
		err = s.count(ctx, p.store, live)
	}
	switch {
	case errors.Is(err, errOvertaken):
		return p.now().Add(standBy), nil
	case err != nil:
		return time.Time{}, fmt.Errorf("count attempts: %w", err)
	case s.read == readAtOnce:
		return p.now(), nil
	}
	return p.now().Add(restFor), nil
}

// span is what was read in one go.
type span struct {
	from, to int64
	read     int // records
	attempts []Attempt
}

func readSpan(ctx context.Context, from Store, after int64) (s span, err error) {
	s = span{from: after, to: after}
	attempts, last, read, err := from.NextAttempts(ctx, after, readAtOnce)
	if read > 0 {
		s.attempts, s.to, s.read = attempts, last, read
	}
	return s, err
}

// count adds the span to a generation, or fails with errOvertaken.
func (s span) count(ctx context.Context, in Store, to Generation) error {
	counts := map[Key]int64{}
	for _, a := range s.attempts {
		counts[Key{a.Tenant, MinuteOf(a.At), a.SubscriptionID, a.EventType, a.Kind, BucketOf(a.Duration)}]++
	}
	return in.InTx(ctx, func(ctx context.Context) error {
		moved, err := in.MoveMetricsOffset(ctx, to, s.from, s.to)
		if err == nil && !moved {
			err = errOvertaken
		}
		if err != nil {
			return err
		}
		return in.AddAttempts(ctx, to, counts)
	})
}

// MinuteOf is the Minute of a Key.
func MinuteOf(at time.Time) int64 { return at.Unix() / int64(Grain/time.Second) }

// perOctave is how many buckets each doubling of the duration has: the middle of a bucket is within 4.5% of every duration in it.
const perOctave = 8

// BucketOf is the histogram bucket of a duration; 0 up to a microsecond.
func BucketOf(d time.Duration) int {
	if d <= time.Microsecond {
		return 0
	}
	return 1 + int(perOctave*math.Log2(float64(d)/float64(time.Microsecond)))
}

// DurationOf is the middle of a bucket.
func DurationOf(bucket int) time.Duration {
	if bucket <= 0 {
		return 0
	}
	return time.Duration(float64(time.Microsecond) * math.Exp2((float64(bucket)-0.5)/perOctave))
}
