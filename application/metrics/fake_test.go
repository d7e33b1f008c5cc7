package metrics_test

import (
	"context"
	"maps"
	"slices"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/metrics"
)

// generation is one copy of the counts.
type generation struct {
	offsets []int64
	counts  map[metrics.Key]int64
}

func newGeneration() generation {
	return generation{make([]int64, shards), map[metrics.Key]int64{}}
}

const shards = 2

// log is a log of attempts in two shards, with its counts. A position is the number of a record in its shard.
type log struct {
	shards       [shards][]metrics.Attempt
	deleted      [shards]int64 // records at the beginning
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
		before[g] = generation{slices.Clone(kept.offsets), maps.Clone(kept.counts)}
	}
	err := fn(ctx)
	if err != nil {
		l.generations = before
	}
	return err
}

func (l *log) MetricsOffsets(_ context.Context, of metrics.Generation) (metrics.Generation, []int64, error) {
	if of == metrics.Live {
		of = l.live
	}
	return of, slices.Clone(l.generations[of].offsets), nil
}

func (l *log) NextAttempts(_ context.Context, shard int, after int64, limit int) ([]metrics.Attempt, int64, int, error) {
	after = max(after, l.deleted[shard])
	next := l.shards[shard][min(after, int64(len(l.shards[shard]))):]
	next = slices.Clone(next[:min(limit, len(next))])
	return next, after + int64(len(next)), len(next), nil
}

func (l *log) MoveMetricsOffset(_ context.Context, of metrics.Generation, shard int, from, to int64) (bool, error) {
	if of != l.live && of != l.newest || l.generations[of].offsets[shard] != from {
		return false, nil
	}
	l.generations[of].offsets[shard] = to
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
	for shard, at := range l.generations[l.live].offsets {
		if l.generations[g].offsets[shard] < at {
			return false, l.fail
		}
	}
	l.live = g
	return true, l.fail
}

func (l *log) DeliveryHeads(context.Context) (live.Positions, error) {
	return live.Positions{int64(len(l.shards[0])), int64(len(l.shards[1]))}, nil
}
