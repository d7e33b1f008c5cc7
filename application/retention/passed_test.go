package retention_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/retention"
)

// Dead letters are kept for longer than what was delivered. Each round would look at all of them, a million in a second or two.
func TestADeadLetterThatIsYoungIsPassedOnce(t *testing.T) {
	w := newWorld(t)
	dead := w.deliver(w.accept(), gone)
	stays := func() bool {
		t.Helper()
		w.purge()
		_, deliveries := w.left()
		return slices.Contains(deliveries, dead)
	}
	w.now = start.Add(22 * day)
	if !stays() {
		t.Fatal("a dead letter went when others do")
	}
	w.exec(`UPDATE closed_deliveries SET status = 'succeeded' WHERE delivery_id = ?1`, dead) // as nobody does: it shows who looks again
	if w.now = w.now.Add(11 * time.Hour); !stays() {
		t.Error("what was passed is looked at again")
	}
	if w.now = w.now.Add(time.Hour); stays() {
		t.Error("what is passed has no turn on the next day")
	}
}

// What ended within a day is not passed before it is old, and what ended later has its turn within a day of that.
func TestWhatEndedLateGoesWhenItIsOld(t *testing.T) {
	w := newWorld(t)
	a, b := w.accept(), w.accept()
	soon, late := w.deliver(a, succeeded), w.deliver(b, succeeded)
	w.exec(`UPDATE closed_deliveries SET updated_at = ?2 WHERE delivery_id = ?1`, soon, start.Add(23*time.Hour).UnixMicro())
	w.exec(`UPDATE closed_deliveries SET updated_at = ?2 WHERE delivery_id = ?1`, late, start.Add(47*time.Hour).UnixMicro())
	left := func(after time.Duration, want ...string) {
		t.Helper()
		w.now = start.Add(after)
		w.purge()
		if _, got := w.left(); len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
			t.Errorf("after %s there are %v, want %v", after, got, want)
		}
	}
	left(20*day+22*time.Hour, late, soon)
	left(20*day+23*time.Hour+time.Minute, late)
	left(21*day+22*time.Hour, late)
	left(22*day + 22*time.Hour)
}

// A look that comes to its limit goes on behind what it found, and one that begins anew finds what a process with other times passed.
func TestALookThatComesToItsLimitGoesOnBehindIt(t *testing.T) {
	w := newWorld(t)
	var ids []string
	for range 5 {
		ids = append(ids, w.deliver(w.accept(), gone), w.deliver(w.accept(), succeeded))
	}
	purge := func(store *sqlite.Store, limit, left int) {
		t.Helper()
		at := start.Add(22 * day)
		_, err := store.Purge(t.Context(), retention.Cutoffs{Now: at, Attempts: at.Add(-20 * day), DeadLetters: at.Add(-90 * day)}, limit)
		w.ok(err)
		if _, got := w.left(); len(got) != left {
			t.Errorf("%d of %d are left, want %d", len(got), len(ids), left)
		}
	}
	purge(w.Store, 2, 8)
	purge(w.Store, 2, 6)
	purge(w.Store, 2, 5)
	shorter := sqlite.NewStore(w.db, plain{})
	at := start.Add(22 * day)
	_, err := shorter.Purge(t.Context(), retention.Cutoffs{Now: at, Attempts: at.Add(-20 * day), DeadLetters: at.Add(-20 * day)}, 100)
	w.ok(err)
	if _, got := w.left(); len(got) != 0 {
		t.Errorf("%v are left when dead letters are kept for as long as others", got)
	}
}
