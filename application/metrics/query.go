package metrics

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// Query asks for a tenant's attempts; since and interval are whole minutes.
type Query struct {
	Tenant         tenant.ID
	SubscriptionID string // empty for all
	Since, Until   time.Time
	Interval       time.Duration
	Together       Together
}

// Together says what is not told apart: subscriptions, event types and outcomes whose attempts share a point, with the percentiles of all of
// them. What is together is empty in cells and points.
type Together struct{ Subscriptions, Types, Outcomes bool }

// Cell is how many attempts of an interval are in one bucket.
type Cell struct {
	Slot           int64 // the number of the interval, from since on
	SubscriptionID string
	EventType      event.Type
	Outcome        delivery.Kind
	Bucket         int
	Count          int64
}

// Reader sums counts up.
type Reader interface {
	// AttemptCells lists at most limit cells, in any order.
	AttemptCells(ctx context.Context, q Query, limit int) ([]Cell, error)
}

// Point is what one interval has for one subscription, type and outcome, as far as these are told apart.
type Point struct {
	Start          time.Time
	SubscriptionID string
	EventType      event.Type
	Outcome        delivery.Kind
	Count          int64
	P50, P95, P99  time.Duration // within 4.5%
}

// MaxCells bounds how many cells a query sums up.
const MaxCells = 50_000

// Read gives the points, oldest first. It fails with problem.InvalidRequest when there are too many.
func Read(ctx context.Context, from Reader, q Query) ([]Point, error) {
	cells, err := from.AttemptCells(ctx, q, MaxCells+1)
	if err != nil {
		return nil, err
	}
	if len(cells) > MaxCells {
		return nil, problem.New(problem.InvalidRequest, "That is too much for one answer: ask for a shorter time, a longer interval, one subscription or fewer groups.")
	}
	for i := range cells {
		cells[i].Outcome = cells[i].Outcome.Public()
	}
	slices.SortFunc(cells, Cell.Compare) // outcomes of one word share a point
	points := []Point{}
	for len(cells) > 0 {
		n := slices.IndexFunc(cells, func(c Cell) bool { return !c.sharesPoint(cells[0]) })
		if n < 0 {
			n = len(cells)
		}
		points = append(points, pointOf(q, cells[:n]))
		cells = cells[n:]
	}
	return points, nil
}

// Compare orders cells by slot, subscription, type, outcome and bucket.
func (c Cell) Compare(other Cell) int {
	return cmp.Or(cmp.Compare(c.Slot, other.Slot), cmp.Compare(c.SubscriptionID, other.SubscriptionID), cmp.Compare(c.EventType, other.EventType),
		cmp.Compare(c.Outcome, other.Outcome), cmp.Compare(c.Bucket, other.Bucket))
}

func (c Cell) sharesPoint(other Cell) bool {
	c.Bucket, c.Count = other.Bucket, other.Count
	return c == other
}

// pointOf merges the buckets of a point, the shortest durations first.
func pointOf(q Query, buckets []Cell) Point {
	c := buckets[0]
	p := Point{Start: q.Since.Add(time.Duration(c.Slot) * q.Interval), SubscriptionID: c.SubscriptionID, EventType: c.EventType, Outcome: c.Outcome}
	for _, b := range buckets {
		p.Count += b.Count
	}
	p.P50, p.P95, p.P99 = percentile(buckets, p.Count, 50), percentile(buckets, p.Count, 95), percentile(buckets, p.Count, 99)
	return p
}

// percentile is the duration that of percent of the attempts did not exceed.
func percentile(buckets []Cell, count, of int64) time.Duration {
	rank := (count*of + 99) / 100
	for _, b := range buckets {
		if rank -= b.Count; rank <= 0 {
			return DurationOf(b.Bucket)
		}
	}
	return 0
}
