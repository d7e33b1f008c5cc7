package e2e_test

import (
	"fmt"
	"testing"
	"time"
)

// poll asks ok again and again until it says yes.
func poll(within time.Duration, ok func() bool) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline.C:
			return fmt.Errorf("not within %s", within)
		}
	}
	return nil
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if err := poll(patience, ok); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
