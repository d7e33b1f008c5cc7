package postgres_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/retention"
)

// TestADeadLetterThatIsYoungIsPassedOnce: week 0 has all dead letters, which are kept for longer than the others that are looked for there.
func TestADeadLetterThatIsYoungIsPassedOnce(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	w.purge()
	dead := w.deliver(gone)
	stays := func() bool {
		t.Helper()
		w.purge()
		return w.changes(dead) > 0 && w.rows(closed+"_kept") == 1
	}
	w.now = w.now.Truncate(day).Add(22 * day)
	if !stays() {
		t.Fatal("a dead letter went when others do")
	}
	w.ok(execute(t.Context(), w.db, `UPDATE closed_deliveries SET status = 'succeeded' WHERE delivery_id = $1`, dead.ID)) // as nobody does: it shows who looks again
	if w.now = w.now.Add(23 * time.Hour); !stays() {
		t.Error("what was passed is looked at again")
	}
	if w.now = w.now.Add(time.Hour); stays() {
		t.Error("what is passed has no turn on the next day")
	}
}

// TestALookThatComesToItsLimitGoesOnBehindIt has more dead letters that are old than one purge deletes.
func TestALookThatComesToItsLimitGoesOnBehindIt(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	for range 5 {
		w.deliver(gone)
	}
	w.now = w.now.Add(100 * day)
	for _, left := range []int64{3, 1, 0} {
		_, err := w.Purge(t.Context(), retention.Cutoffs{Now: w.now, Attempts: w.now.Add(-20 * day), DeadLetters: w.now.Add(-90 * day)}, 2)
		if w.ok(err); w.rows(closed+"_kept") != left {
			t.Errorf("%d dead letters are left, want %d", w.rows(closed+"_kept"), left)
		}
	}
}
