package sqlite

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/jobs"
)

// walkEveryWay walks over events, and over those of a time.
func walkEveryWay(ctx context.Context, s *Store) error {
	_, err := s.WalkEvents(ctx, jobs.EventWalk{Tenant: "t1", Limit: 9})
	_, ofTime := s.WalkEvents(ctx, jobs.EventWalk{Tenant: "t1", Since: time.UnixMicro(1), Limit: 9})
	return errors.Join(err, ofTime)
}

// Behind a million events, a walk begins where it is to, and does not pass over those before.
func TestAWalkOverEventsIsASearch(t *testing.T) {
	db := openEmpty(t)
	s := NewStore(db, nil)
	statements := statementsOf(t, db, func(ctx context.Context) error { return walkEveryWay(ctx, s) })
	if len(statements) != 2 {
		t.Errorf("it ran %q", statements)
	}
	for _, query := range statements {
		if plan := explain(t, db, query); !slices.ContainsFunc(plan, func(step string) bool {
			return strings.Contains(step, "SEARCH events USING INDEX events_by_sequence (tenant_id=? AND sequence>? AND sequence<?)")
		}) {
			t.Errorf("%s\nhas the plan %q", query, plan)
		}
	}
}
