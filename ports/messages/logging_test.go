package messages_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/ordinavo/webhooks/application/intake"
)

// lines are read while others are written.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// A handler's failure is the log's to tell, which knows whether it is one; the router's own word for it is for those who debug.
func TestTheRouterLeavesAHandlersFailureToTheLog(t *testing.T) {
	said := &lines{}
	w := newWorld(t)
	w.logger = slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))
	failed := false
	w.handle = func(context.Context, int64, []intake.EventKey) error {
		if !failed {
			failed = true
			return errors.New("the database is away")
		}
		return nil
	}
	w.publish(names(intake.EventKey{Tenant: "acme", ID: "evt_1"}))
	w.run()
	w.next()
	w.next() // once the first is refused
	if text := said.String(); strings.Contains(text, "level=ERROR") || !strings.Contains(text, "level=DEBUG msg=\"Handler returned error\"") ||
		!strings.Contains(text, "the database is away") || !strings.Contains(text, "handler_name") {
		t.Error(text)
	}
}
