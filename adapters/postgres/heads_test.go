package postgres_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/dispatch"
)

// leaseOne leases the next delivery.
func (w *weeks) leaseOne(from *postgres.Store) (id string, leased []dispatch.Leased) {
	w.Helper()
	answer, err := from.LeaseReady(w.Context(), dispatch.LeaseRequest{Lease: "inc_1", Now: w.now, Lanes: []dispatch.Asked{{Lane: lane, Slots: 1}}})
	w.ok(err)
	if len(answer.Leased) == 0 {
		return "", nil
	}
	return answer.Leased[0].Delivery.ID, answer.Leased
}

// ready schedules deliveries, a second apart.
func (w *weeks) ready(n int) (ids []string) {
	w.Helper()
	for range n {
		ids = append(ids, w.deliver().ID)
		w.now = w.now.Add(time.Second)
	}
	return ids
}

// TestWhatComesBackBeforeTheHead has another process give a delivery back that is older than all that this one has left.
func TestWhatComesBackBeforeTheHead(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	other := postgres.NewStore(w.direct, tagging{})
	ids := w.ready(400)
	first, leased := w.leaseOne(w.Store)
	if first != ids[0] {
		t.Fatalf("leased %s first, want %s", first, ids[0])
	}
	w.ok(other.GiveBack(t.Context(), "inc_1", leased))
	end := time.Now().Add(time.Minute) // a search that was slow has the next from the beginning wait for fifty times as long
	for i := 1; ; i++ {
		id, _ := w.leaseOne(w.Store)
		for id == "" && i == len(ids) && time.Now().Before(end) {
			id, _ = w.leaseOne(w.Store)
		}
		if id == first {
			break
		}
		if i == len(ids) {
			t.Fatalf("what was given back is not found when all others are leased, but %q", id)
		}
		if id != ids[i] {
			t.Fatalf("leased %s as number %d, want %s", id, i, ids[i])
		}
	}
}

// TestAHeadThatIsUndone has a lease rolled back: what it took is ready again, for the very next one.
func TestAHeadThatIsUndone(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	ids := w.ready(4)
	w.leaseOne(w.Store)
	undone := errors.New("undone")
	err := w.InTx(t.Context(), func(ctx context.Context) error {
		_, err := w.LeaseReady(ctx, dispatch.LeaseRequest{Lease: "inc_1", Now: w.now, Lanes: []dispatch.Asked{{Lane: lane, Slots: 2}}})
		w.ok(err)
		return undone
	})
	if !errors.Is(err, undone) {
		t.Fatal(err)
	}
	if id, _ := w.leaseOne(w.Store); id != ids[1] {
		t.Errorf("leased %s, want %s", id, ids[1])
	}
}

// TestAHeadGoesBack has a delivery given back, and one fall due, that are older than what is left.
func TestAHeadGoesBack(t *testing.T) {
	t.Parallel()
	w := newWeeks(t, straight)
	waits := w.deliver(failed) // due in an hour
	w.now = w.now.Add(2 * time.Hour)
	ids := w.ready(3)
	_, leased := w.leaseOne(w.Store)
	w.ok(w.GiveBack(t.Context(), "inc_1", leased))
	if id, _ := w.leaseOne(w.Store); id != ids[0] {
		t.Errorf("leased %s, want %s, which was given back", id, ids[0])
	}
	_, err := w.Look(t.Context(), dispatch.LookRequest{Now: w.now})
	w.ok(err)
	if id, _ := w.leaseOne(w.Store); id != waits.ID {
		t.Errorf("leased %s, want %s, which fell due", id, waits.ID)
	}
}
