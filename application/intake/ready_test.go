package intake_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/problem"
)

// Who cannot write is not ready, until it can or nobody has tried for a while.
func TestReadyAsTheLastCommitWas(t *testing.T) {
	within(t, func(w *world) {
		w.open(intake.Limits{})
		ready := func(want bool) {
			t.Helper()
			if err := w.Ready(); (err == nil) != want {
				t.Errorf("ready: %v", err)
			}
		}
		ready(true)
		full := fmt.Errorf("commit: %w", problem.New(problem.Unavailable, "no room"))
		w.store.failCommit = full
		w.one(many("acme", "a", 1)...)
		if err := w.Ready(); !errors.Is(err, full) {
			t.Errorf("it says %v", err)
		}
		w.store.later += 5*time.Second - 1
		ready(false)
		w.store.later++
		ready(true)
		w.one(many("acme", "b", 1)...)
		ready(false)
		w.store.later -= time.Hour
		ready(true)
		w.one(many("acme", "b", 1)...)
		ready(false)
		w.store.failCommit = nil
		w.accepts("acme", 1)
		ready(true)
		w.store.failCommit = errors.New("a defect")
		w.one(many("acme", "c", 1)...)
		ready(true)
	})
}
