package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

const insertOldClosed = `INSERT INTO closed_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number, warnings, status, version, attempts, failures,
abandonments, created_at, updated_at, accepted_at, traceparent, week) VALUES ($1, $2, 'evt_1', 'target.imported', 'sub_1', 1, 1, '[]', $3, 2, 1, 0, 0, 1, 1, 1, '', 0)`

const insertCounts = `INSERT INTO attempt_metrics (tenant_id, generation, minute, subscription_id, event_type, outcome, bucket, attempts)
VALUES ($1, $2, $3, 'sub_1', 'target.imported', 'succeeded', 1, 1)`

// TestATenantWithNothingOldIsNotPurged: with tens of thousands of them a transaction for each took longer than the minute between two rounds. Each
// kind of what is old has its tenant purged, and the same of a later time has not.
func TestATenantWithNothingOldIsNotPurged(t *testing.T) {
	t.Parallel()
	db, now := openEmpty(t), time.Now()
	ago := func(days int) time.Time { return now.AddDate(0, 0, -days) }
	before := retention.Cutoffs{Now: now, Events: ago(30), Attempts: ago(30), DeadLetters: ago(10)}
	_, err := NewStore(db, nil).change(t.Context(), `UPDATE projections SET live = 3, newest = 5 WHERE name = 'metrics'`)
	pgtest.Check(t, err)
	for _, kind := range []struct {
		name, insert string
		args         func(owner string, at time.Time) []any
		old, young   time.Time
	}{
		{"hours", `INSERT INTO disposition_hours (tenant_id, hour, events, expected, deliveries, not_matched, feature_gated, set_aside, first_position, last_position, due_at)
VALUES ($1, $2, 0, 0, 0, 0, 0, 0, 1, 1, 1)`, func(owner string, at time.Time) []any { return []any{owner, at.UnixMicro()} }, ago(31), ago(29)},
		{"dead letters", insertOldClosed, func(owner string, at time.Time) []any { return []any{owner, ids.FirstDelivery(at), "dead_letter"} }, ago(11), ago(9)},
		{"others", insertOldClosed, func(owner string, at time.Time) []any { return []any{owner, ids.FirstDelivery(at), "succeeded"} }, ago(31), ago(29)},
		{"events", `INSERT INTO events (tenant_id, event_id, sequence, event_type, occurred_at, accepted_at, fingerprint, content, traceparent, week)
VALUES ($1, 'evt_1', 1, 'target.imported', 1, $2, '', '', '', 0)`, func(owner string, at time.Time) []any { return []any{owner, at.UnixMicro()} }, ago(31), ago(29)},
		{"jobs", `INSERT INTO jobs (tenant_id, job_id, state) VALUES ($1, $2, '{}')`, func(owner string, at time.Time) []any { return []any{owner, ids.First("job_", at)} }, ago(31), ago(29)},
		{"counts", `INSERT INTO attempt_metrics (tenant_id, generation, minute, subscription_id, event_type, outcome, bucket, attempts)
VALUES ($1, ` + liveMetrics + `, $2, 'sub_1', 'target.imported', 'succeeded', 1, 1)`, func(owner string, at time.Time) []any { return []any{owner, at.Unix() / 60} }, ago(31), ago(29)},
		{"counts of a rebuild", insertCounts, func(owner string, at time.Time) []any { return []any{owner, 5, at.Unix() / 60} }, ago(31), ago(29)},
		{"counts from before a rebuild", insertCounts, func(owner string, at time.Time) []any { return []any{owner, 2 + at.Compare(ago(1)), now.Unix() / 60} }, ago(1), now},
		{"counts of a rebuild that was broken off", insertCounts, func(owner string, at time.Time) []any { return []any{owner, 4 - at.Compare(ago(1)), now.Unix() / 60} }, ago(1), now},
	} {
		t.Run(kind.name, func(t *testing.T) {
			s := NewStore(db, nil)
			old, young := "old-"+kind.name, "young-"+kind.name
			owners := []tenant.ID{tenant.ID(old), tenant.ID(young), "nothing"}
			for owner, at := range map[string]time.Time{old: kind.old, young: kind.young} {
				_, err := s.change(t.Context(), kind.insert, kind.args(owner, at)...)
				pgtest.Check(t, err)
			}
			if kind.name == "others" { // as dead letters they are passed
				s.closed.Note(retention.Reached{{Owner: owners[0], Dead: true}: ids.FirstDelivery(ago(9)), {Owner: owners[1], Dead: true}: ids.FirstDelivery(ago(9))})
			}
			if kind.name == "dead letters" { // as others they are
				s.closed.Note(retention.Reached{{Owner: owners[1]}: ids.FirstDelivery(ago(1))})
			}
			if got, err := s.haveOld(t.Context(), owners, before); err != nil || !slices.Equal(got, owners[:1]) {
				t.Errorf("%v are to be purged, %v", got, err)
			}
		})
	}
	t.Run("in a round", func(t *testing.T) {
		s := NewStore(db, nil)
		_, err := s.change(t.Context(), `INSERT INTO tenants (tenant_id, name, created_at) VALUES ('nothing', 'n', 1), ('old-jobs', 'n', 1)`)
		pgtest.Check(t, err)
		_, err = s.Purge(t.Context(), before, 100)
		pgtest.Check(t, err)
		if behind := s.closed.Behind(retention.Closed{Owner: "nothing"}); behind != "" {
			t.Errorf("one that has nothing old was purged, up to %s", behind)
		}
		if behind := s.closed.Behind(retention.Closed{Owner: "old-jobs"}); behind == "" {
			t.Error("one that has was not")
		}
	})
}
