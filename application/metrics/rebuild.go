package metrics

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
)

// ErrSuperseded is a problem.Conflict.
var ErrSuperseded = problem.New(problem.Conflict, "Another rebuild has begun; this one ends.")

// RebuildStore keeps a second generation of the counts beside the live one.
type RebuildStore interface {
	Store
	// BeginGeneration makes a new, empty one. One that was begun before and is not live is given up.
	BeginGeneration(ctx context.Context) (Generation, error)
	// GoLive makes the generation live if it is counted as far as the live one, and reports whether it is live. It fails
	// with ErrSuperseded when another was begun after it.
	GoLive(ctx context.Context, g Generation) (bool, error)
	// DeliveryHead is the newest position in the log of deliveries; 0 when it is empty.
	DeliveryHead(ctx context.Context) (int64, error)
}

// Rebuild counts the whole log again into a generation of its own, and makes that one live once it has caught up. Meanwhile the live
// one goes on being counted and read. It may be broken off at any time, and begun again.
type Rebuild struct {
	store RebuildStore
	now   func() time.Time
	kept  time.Duration

	generation Generation // 0 before the first step
	counted    int64      // how far the live one was, when this round began
	ended      bool       // whether this round has come to the end of the log
	progress   Progress
}

// Progress is how far a rebuild has come.
type Progress struct {
	Records, Attempts int     // that were counted
	Share             float64 // of the log, 0 to 1
	Done              bool
}

// NewRebuild makes a Rebuild. kept is how long attempts are kept: older ones are not counted.
func NewRebuild(store RebuildStore, now func() time.Time, kept time.Duration) *Rebuild {
	return &Rebuild{store: store, now: now, kept: kept}
}

// Progress says how far it has come.
func (r *Rebuild) Progress() Progress { return r.progress }

// Step counts the next records, until Progress says that it is done. It may be called again after an error. It fails with ErrSuperseded
// when another rebuild has begun.
func (r *Rebuild) Step(ctx context.Context) error {
	switch {
	case r.progress.Done:
		return nil
	case r.generation == 0:
		return r.begin(ctx)
	case !r.ended:
		return r.next(ctx)
	}
	done, err := r.store.GoLive(ctx, r.generation)
	if err != nil {
		return fmt.Errorf("make the rebuilt counts live: %w", err)
	}
	if r.progress.Done = done; done {
		r.progress.Share = 1
		return nil
	}
	return r.beginRound(ctx)
}

func (r *Rebuild) begin(ctx context.Context) error {
	g, err := r.store.BeginGeneration(ctx)
	if err != nil {
		return fmt.Errorf("begin to count anew: %w", err)
	}
	r.generation = g
	return r.beginRound(ctx)
}

// beginRound notes how far the live generation is: everything up to there can be read, or is deleted.
func (r *Rebuild) beginRound(ctx context.Context) (err error) {
	if _, r.counted, err = r.store.MetricsOffset(ctx, Live); err != nil {
		return fmt.Errorf("find how far attempts are counted: %w", err)
	}
	r.ended = false
	return nil
}

func (r *Rebuild) next(ctx context.Context) error {
	_, offset, err := r.store.MetricsOffset(ctx, r.generation)
	if err != nil {
		return fmt.Errorf("find how far attempts are counted anew: %w", err)
	}
	s, err := readSpan(ctx, r.store, offset)
	if err != nil {
		return fmt.Errorf("count attempts anew: %w", err)
	}
	last := s.read < readAtOnce
	if last {
		s.to = max(s.to, r.counted)
	}
	oldest := MinuteOf(r.now().Add(-r.kept))
	s.attempts = slices.DeleteFunc(s.attempts, func(a Attempt) bool { return MinuteOf(a.At) < oldest })
	if s.to > s.from {
		err = s.count(ctx, r.store, r.generation)
	}
	switch {
	case errors.Is(err, errOvertaken):
		return ErrSuperseded
	case err != nil:
		return fmt.Errorf("count attempts anew: %w", err)
	}
	r.ended = last
	r.progress.Records, r.progress.Attempts = r.progress.Records+s.read, r.progress.Attempts+len(s.attempts)
	return r.measure(ctx, s.to)
}

func (r *Rebuild) measure(ctx context.Context, offset int64) error {
	head, err := r.store.DeliveryHead(ctx)
	if err != nil {
		return fmt.Errorf("find the end of the log: %w", err)
	}
	r.progress.Share = float64(min(offset, head)) / float64(max(1, head))
	return nil
}
