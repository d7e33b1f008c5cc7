package telemetry_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/adapters/telemetry"
)

// unread is a log that takes nothing until somebody reads it.
type unread struct {
	bytes.Buffer
	begun chan struct{}
}

func (u *unread) Write(line []byte) (int, error) {
	<-u.begun
	return u.Buffer.Write(line)
}

// TestNobodyWaitsForWhoReadsTheLog: the first lines are kept, and how many were left out behind them is said.
func TestNobodyWaitsForWhoReadsTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := &unread{begun: make(chan struct{})}
		log := telemetry.Detach(u)
		logger := telemetry.NewLogger(log, slog.LevelInfo)
		for n := range 5000 {
			logger.Info("a line", "n", n)
		}
		synctest.Wait()
		close(u.begun)
		synctest.Wait()
		logger.Info("one more")
		log.Close()
		text := u.String()
		if kept := strings.Count(text, "a line"); kept < 1000 || kept > 1100 || !strings.Contains(text, `"n":0}`) || !strings.Contains(text, `"lines":39`) || !strings.Contains(text, "one more") {
			t.Errorf("%d of 5000 lines are kept: %s", kept, text[max(0, len(text)-500):])
		}
	})
}

// TestALogThatNobodyReadsKeepsNoProcess for longer than a second.
func TestALogThatNobodyReadsKeepsNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, lines := range []int{1, 5000} {
			u := &unread{begun: make(chan struct{})}
			log, began := telemetry.Detach(u), time.Now()
			for range lines {
				_, _ = log.Write([]byte("a line\n"))
			}
			log.Close()
			if took := time.Since(began); took != time.Second {
				t.Errorf("with %d lines it takes %s", lines, took)
			}
			close(u.begun)
			log.Close()
		}
	})
}
