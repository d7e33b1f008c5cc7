package rest

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// Events take several times the memory of the body that brings them, and a commit as long as its events are large, which everybody else's
// events wait for: those of all bodies that may be held would be a commit of hundreds of MiB.
const (
	// maxAtWork is for the bodies of all events that are being read and accepted, in bytes; further ones wait as they came.
	maxAtWork = 16 << 20
	// lightBody is what does not count, in bytes, so that it never waits for a large one.
	lightBody = 32 << 10
)

// atWork is room for bodies that are being worked on. Those that wait get it in turn.
type atWork struct{ *semaphore.Weighted }

func newAtWork() atWork { return atWork{semaphore.NewWeighted(maxAtWork)} }

// begin waits for room for a body of so many bytes. end makes room for the next.
func (w atWork) begin(ctx context.Context, bytes int) (end func(), err error) {
	if bytes <= lightBody {
		return func() {}, nil
	}
	if err := w.Acquire(ctx, int64(bytes)); err != nil {
		return nil, fmt.Errorf("wait until other large bodies are accepted: %w", err)
	}
	return func() { w.Release(int64(bytes)) }, nil
}
