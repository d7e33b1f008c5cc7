package sqlite

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/ids"
	"github.com/ordinavo/webhooks/application/retention"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// TestATenantWithNothingOldIsNotPurged: of tens of thousands nearly all have nothing, once a minute. One with a closed delivery or an event that is
// old is, also where a young one comes first.
func TestATenantWithNothingOldIsNotPurged(t *testing.T) {
	db, now := openEmpty(t), time.Now()
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	old, young := now.AddDate(0, 0, -31), now.AddDate(0, 0, -29)
	insert := func(query string, args ...any) {
		t.Helper()
		if _, err := NewStore(db, nil).change(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	event := func(owner string, sequence int, at time.Time) {
		t.Helper()
		insert(`INSERT INTO events (tenant_id, event_id, sequence, event_type, occurred_at, accepted_at, fingerprint, content, traceparent)
			VALUES (?1, 'evt_' || ?2, ?2, 'target.imported', 1, ?3, x'', x'', '')`, owner, sequence, at.UnixMicro())
	}
	event("young", 1, young)
	event("event", 2, old)
	event("later", 3, young)
	event("later", 4, old)
	for owner, at := range map[string]time.Time{"young": young, "closed": old} {
		insert(`INSERT INTO closed_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number, warnings, status, version, attempts, failures,
			abandonments, created_at, updated_at, accepted_at, traceparent) VALUES (?1, ?2, 'evt_0', 'target.imported', 'sub_1', 1, 1, '[]', 'succeeded', 2, 1, 0, 0, 1, ?3, 1, '')`,
			owner, ids.FirstDelivery(at), at.UnixMicro())
	}
	for _, owner := range []tenant.ID{"nothing", "young", "event", "later", "closed"} {
		insert(`INSERT INTO tenants (tenant_id, name, created_at) VALUES (?, 'n', 1)`, owner)
	}
	at := now.AddDate(0, 0, -30)
	s := NewStore(db, nil)
	if _, err := s.Purge(t.Context(), retention.Cutoffs{Now: now, Events: at, Attempts: at, DeadLetters: at}, 100); err != nil {
		t.Fatal(err)
	}
	for owner, want := range map[tenant.ID]bool{"nothing": false, "young": false, "event": true, "later": true, "closed": true} {
		if _, got := s.passed.Load(owner); got != want {
			t.Errorf("%s was purged: %t, want %t", owner, got, want)
		}
	}
}
