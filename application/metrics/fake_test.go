package metrics_test

import (
	"context"
	"maps"
	"slices"

	"github.com/ordinavo/webhooks/application/metrics"
)

// generation is one copy of the counts.
type generation struct {
	offset int64
	counts map[metrics.Key]int64
}

func newGeneration() generation {
	return generation{0, map[metrics.Key]int64{}}
}

// log is a log of attempts, with its counts. A position is the number of a record.
type log struct {
	attempts     []metrics.Attempt
	deleted      int64 // records at the beginning
	generations  map[metrics.Generation]generation
	live, newest metrics.Generation
	fail         error
}

func newLog() *log {
	return &log{generations: map[metrics.Generation]generation{1: newGeneration()}, live: 1, newest: 1}
}

// shown is how many attempts readers see.
func (l *log) shown() (total int64) {
	for _, n := range l.generations[l.live].counts {
		total += n
	}
	return total
}

func (l *log) InTx(ctx context.Context, fn func(context.Context) error) error {
	before := map[metrics.Generation]generation{}
	for g, kept := range l.generations {
		before[g] = generation{kept.offset, maps.Clone(kept.counts)}
	}
	err := fn(ctx)
	if err != nil {
		l.generations = before
	}
	return err
}

func (l *log) MetricsOffset(_ context.Context, of metrics.Generation) (metrics.Generation, int64, error) {
	if of == metrics.Live {
		of = l.live
	}
	return of, l.generations[of].offset, nil
}

func (l *log) NextAttempts(_ context.Context, after int64, limit int) ([]metrics.Attempt, int64, int, error) {
	after = max(after, l.deleted)
	next := l.attempts[min(after, int64(len(l.attempts))):]
	next = slices.Clone(next[:min(limit, len(next))])
	return next, after + int64(len(next)), len(next), nil
}

func (l *log) MoveMetricsOffset(_ context.Context, of metrics.Generation, from, to int64) (bool, error) {
	g := l.generations[of]
	if of != l.live && of != l.newest || g.offset != from {
		return false, nil
	}
	g.offset = to
	l.generations[of] = g
	return true, nil
}

func (l *log) AddAttempts(_ context.Context, to metrics.Generation, counts map[metrics.Key]int64) error {
	for k, n := range counts {
		l.generations[to].counts[k] += n
	}
	return l.fail
}

func (l *log) BeginGeneration(context.Context) (metrics.Generation, error) {
	l.newest++
	l.generations[l.newest] = newGeneration()
	return l.newest, l.fail
}

func (l *log) GoLive(_ context.Context, g metrics.Generation) (bool, error) {
	if g != l.newest {
		return false, metrics.ErrSuperseded
	}
	if l.generations[g].offset < l.generations[l.live].offset {
		return false, l.fail
	}
	l.live = g
	return true, l.fail
}

func (l *log) DeliveryHead(context.Context) (int64, error) { return int64(len(l.attempts)), nil }
