package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/records"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/domain/tenant"
)

const deferRows = `INSERT INTO deferred_events (tenant_id, sequence, events) SELECT $1, n, '[]' FROM generate_series($2::bigint, $3::bigint) AS n`

// part is what a row of deferRows holds.
func part(owner tenant.ID, sequence int64) fanout.Deferred {
	return fanout.Deferred{Tenant: owner, Position: sequence / records.MaxEventsPerRecord, Events: []fanout.Named{{ID: "evt_1", Place: int(sequence % records.MaxEventsPerRecord)}}}
}

func takeTurn(t *testing.T, s *Store, taken, deferred []fanout.Deferred) {
	t.Helper()
	if err := s.Schedule(t.Context(), fanout.Plan{Taken: taken, Deferred: deferred}, func(bool) {}); err != nil {
		t.Fatal(err)
	}
}

// TestAnOldSnapshotLengthensNoTurn has a tenant's events come to their turns while somebody reads as of before, as a backup does.
func TestAnOldSnapshotLengthensNoTurn(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	run, s := runs(t, db), NewStore(db, nil)
	const before, dead = 40_000, 40_000 + longTurn
	backUp(t, db)
	run(deferRows, "acme", 1, dead)
	run(`DELETE FROM deferred_events WHERE sequence <= $1`, before)
	var parts []fanout.Deferred
	for sequence := int64(before + 1); sequence <= dead; sequence++ {
		parts = append(parts, part("acme", sequence))
	}
	read := func(s *Store) map[string]int {
		now, w, b := time.Now(), newTurnWalk("acme", s.turns.longest(), time.Now()), &pgx.Batch{}
		from, _ := s.turns.from("acme", now)
		w.queue(b)
		of := map[string]int{
			"who waits":  blocks(t, db, deferring, []string{"acme", "other"}, []int64{from, fromTheStart}),
			"what waits": blocks(t, db, deferredOf, "acme", from, 10),
		}
		for _, q := range b.QueuedQueries {
			of["who is next"] += blocks(t, db, q.SQL, q.Arguments...)
		}
		return of
	}
	takeTurn(t, s, parts, nil)
	s.turns.left("acme", s.turns.of["acme"].at, time.Now(), time.Hour, 0) // no search from the beginning
	run(`VACUUM deferred_events`)
	const few = 60 // blocks; the table has some 300
	for what, n := range read(NewStore(db, nil)) {
		if n < 4*few {
			t.Errorf("without heads, to look %s reads %d blocks: the test would not see what was taken", what, n)
		}
	}
	for what, n := range read(s) {
		if n > few {
			t.Errorf("to look %s, %d blocks were read", what, n)
		}
	}
}

// TestATurnMovesItsHead to what it leaves, and one that is undone does not.
func TestATurnMovesItsHead(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	run, s := runs(t, db), NewStore(db, nil)
	first := func() int64 {
		parts, err := s.DeferredOf(t.Context(), "acme", 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(parts) == 0 {
			return 0
		}
		return records.SequenceOf(parts[0])
	}
	expect := func(what string, found, head int64) {
		t.Helper()
		s.turns.left("acme", s.turns.of["acme"].at, time.Now(), time.Hour, 0) // no search from the beginning
		if got := first(); got != found {
			t.Errorf("%s: what waits begins at %d, want %d", what, got, found)
		}
		if got := s.turns.of["acme"].at; got != head {
			t.Errorf("%s: the head is at %d, want %d", what, got, head)
		}
	}
	run(deferRows, "acme", 5, 9)
	first()
	expect("before a turn", 5, 5)
	takeTurn(t, s, []fanout.Deferred{part("acme", 5), part("acme", 6)}, []fanout.Deferred{part("acme", 6)})
	expect("with a part of what was taken put back", 6, 6)
	undone := errors.New("undone")
	err := s.InTx(t.Context(), func(ctx context.Context) error {
		return cmp.Or(s.Schedule(ctx, fanout.Plan{Taken: []fanout.Deferred{part("acme", 6)}}, func(bool) {}), undone)
	})
	if !errors.Is(err, undone) {
		t.Fatal(err)
	}
	expect("after one that is undone", 6, 6)
	takeTurn(t, s, []fanout.Deferred{part("acme", 6), part("acme", 7), part("acme", 8), part("acme", 9)}, nil)
	expect("with nothing left", 0, 10)
	takeTurn(t, s, nil, []fanout.Deferred{part("acme", 20)})
	expect("with one more", 20, 20)
	run(deferRows, "acme", 3, 3) // as in a backup that is restored
	expect("with one before the head", 20, 20)
	s.turns.left("acme", 20, time.Unix(0, 0), 1, 0)
	if got := first(); got != 3 {
		t.Errorf("searched from the beginning: what waits begins at %d, want 3", got)
	}
}

// TestEachSearchBeginsAtItsHead has an event before it, as in a backup that is restored, which is found once the search is from the beginning.
func TestEachSearchBeginsAtItsHead(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	s := NewStore(db, nil)
	runs(t, db)(deferRows, "acme", 3, 3)
	found := func() (n int) {
		t.Helper()
		_, waiting, err := s.Governing(t.Context(), 0, 1, 1, []tenant.ID{"acme"})
		next, nextErr := s.NextTurn(t.Context(), "other")
		parts, listErr := s.DeferredOf(t.Context(), "acme", 10)
		if err := errors.Join(err, nextErr, listErr); err != nil {
			t.Fatal(err)
		}
		for _, is := range []bool{waiting["acme"], next == "acme", len(parts) > 0} {
			if is {
				n++
			}
		}
		return n
	}
	s.turns.left("acme", 20, time.Now(), time.Minute, longTurn)
	if n := found(); n > 0 {
		t.Errorf("%d of three searches found what is before the head", n)
	}
	s.turns.forget("acme")
	if n := found(); n != 3 {
		t.Errorf("%d of three searches found it from the beginning", n)
	}
}

// TestTheNextTurnIsFoundAroundHeads has heads in many states, wherever the turn is.
func TestTheNextTurnIsFoundAroundHeads(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	run := runs(t, db)
	var owners []tenant.ID
	waits := map[tenant.ID]bool{}
	for n := range 40 {
		owner := tenant.ID(fmt.Sprintf("t%02d", n))
		if owners = append(owners, owner); n%3 > 0 {
			run(deferRows, owner, 100, 101)
			waits[owner] = true
		}
	}
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := NewStore(db, nil)
		for _, owner := range owners {
			if random.IntN(2) == 0 {
				s.turns.left(owner, int64(100-random.IntN(2)), time.Now(), time.Duration(random.IntN(2))*time.Hour, random.IntN(2*longTurn))
			}
		}
		for at, after := range append([]tenant.ID{""}, owners...) {
			want := tenant.ID("")
			for n := range owners {
				if owner := owners[(at+n)%len(owners)]; want == "" && waits[owner] {
					want = owner
				}
			}
			if got, err := s.NextTurn(t.Context(), after); err != nil || got != want {
				t.Errorf("seed %d: %q is next after %q, want %q: %v", seed, got, after, want, err)
			}
		}
	}
}

// TestATenantIsSearchedSeldom from its beginning, though others have their turns: whether it has events or not.
func TestATenantIsSearchedSeldom(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	runs(t, db)(deferRows, "acme", 100, 101)
	for _, owner := range []tenant.ID{"acme", "other"} {
		s := NewStore(db, nil)
		s.turns.left(owner, 100, time.Now().Add(-time.Hour), 0, longTurn)
		if _, start := s.turns.from(owner, time.Now()); !start {
			t.Fatal("there would be no search from the beginning")
		}
		_, err := s.NextTurn(t.Context(), "somebody")
		if until := s.turns.of[owner].until; err != nil || time.Until(until) < -time.Minute {
			t.Errorf("%s is searched from its beginning again: %v", owner, err)
		}
	}
}

// TestWhatIsSearchedQuicklyIsNotLong any more.
func TestWhatIsSearchedQuicklyIsNotLong(t *testing.T) {
	t.Parallel()
	h, now := newTurnHeads(), time.Now()
	for _, c := range []struct {
		took  time.Duration
		taken int
		long  int
	}{{0, longTurn, 1}, {quick, 0, 1}, {quick - 1, 0, 0}, {0, longTurn - 1, 0}, {0, 1, 1}} {
		h.left("acme", 5, now, c.took, c.taken)
		if n := len(h.longest()); n != c.long {
			t.Errorf("after %s and %d taken there are %d, want %d", c.took, c.taken, n, c.long)
		}
	}
	if h.searched("acme", now, 1); len(h.longest()) > 0 {
		t.Error("one that was searched in vain, and quickly, is long")
	}
}
