package sqlite

import (
	"context"
	"math"
	"testing"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
)

// Between the look and the deletion others write: a delivery may have been sent again, and an event replayed, or retried after it was set aside.
func TestWhatIsNotOldAnyMoreWhenItIsDeletedStays(t *testing.T) {
	db := filled(t, 100)
	inTx := func(fn func(ctx context.Context, tx *Tx) error) {
		t.Helper()
		if err := db.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	exec := func(query string, args ...any) {
		t.Helper()
		inTx(func(ctx context.Context, tx *Tx) error { _, err := tx.Exec(ctx, query, args...); return err })
	}
	purged := func(why string, want int, id, row string, belongings []string, args ...any) {
		t.Helper()
		inTx(func(ctx context.Context, tx *Tx) error {
			n, err := tx.purge(ctx, "t5", id, belongings, row, args...)
			if n != want {
				t.Errorf("%s: %d deleted, and not %d", why, n, want)
			}
			return err
		})
	}
	delivery := func(why string, want int, deadLetters, others int64) {
		t.Helper()
		purged(why, want, "old_5", deleteClosed, []string{deleteStream}, deadLetters, others)
	}
	event := func(why string, want int) {
		t.Helper()
		purged(why, want, "evt_5", deleteEvent, []string{deleteBodies, deleteGated}, int64(math.MaxInt64))
	}
	fannedOutTo := func(position int) {
		t.Helper()
		exec(`INSERT INTO consumer_offsets (consumer_group, topic, position) VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET position = ?3`, fanout.Group, records.TopicEvents, position)
	}

	delivery("it ended a moment ago", 0, 6, 5) // it ended at 5
	exec(`UPDATE closed_deliveries SET status = 'dead_letter' WHERE tenant_id = 't5' AND delivery_id = 'old_5'`)
	delivery("it is a dead letter now, which is kept for longer", 0, 5, 6)

	fannedOutTo(1000)
	exec(`DELETE FROM closed_deliveries WHERE tenant_id = 't5' AND event_id = 'evt_15'`)
	purged("it has an open delivery", 0, "evt_15", deleteEvent, nil, int64(math.MaxInt64))
	exec(`DELETE FROM open_deliveries WHERE tenant_id = 't5' AND event_id IN ('evt_5', 'evt_15')`)
	purged("it has none", 1, "evt_15", deleteEvent, nil, int64(math.MaxInt64))
	event("it has a closed delivery", 0)
	delivery("it is old", 1, 6, 5)
	delivery("it is gone", 0, 6, 5)
	fannedOutTo(-1)
	event("it is not fanned out", 0)
	fannedOutTo(1000)
	event("it is old", 1)
	for _, table := range []string{"bodies", "gated_events"} {
		left, err := one(t.Context(), db, value[int], `SELECT count(*) FROM `+table+` WHERE tenant_id = 't5' AND event_id = 'evt_5'`)
		if err != nil || left != 0 {
			t.Errorf("%d rows of %s are left of it, %v", left, table, err)
		}
	}
}
