package e2e_test

import (
	"fmt"
	"testing"
	"time"
)

// poll asks ok again and again until it says yes. To ask takes a fifth of the time at most, so that what is waited for has the rest.
func poll(within time.Duration, ok func() bool) error {
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		asked := time.Now()
		if ok() {
			return nil
		}
		select {
		case <-time.After(min(max(5*time.Millisecond, 4*time.Since(asked)), 250*time.Millisecond)):
		case <-deadline.C:
			return fmt.Errorf("not within %s", within)
		}
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if err := poll(patience, ok); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}
