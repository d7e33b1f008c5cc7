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

// TestATenantWithoutEventsIsSearchedSeldom from its beginning: the turn that would do so does not come.
func TestATenantWithoutEventsIsSearchedSeldom(t *testing.T) {
	t.Parallel()
	s := NewStore(openEmpty(t), nil)
	long := func() (start bool) {
		_, start = s.turns.from("acme", time.Now())
		return start
	}
	s.turns.left("acme", 100, time.Now().Add(-time.Hour), 0, longTurn)
	if !long() {
		t.Fatal("there would be no search from the beginning")
	}
	end := time.Now().Add(time.Minute) // a search that takes a tenth of a second is old at once
	for long() {
		if _, err := s.NextTurn(t.Context(), "other"); err != nil || time.Now().After(end) {
			t.Fatalf("each search is from the beginning: %v", err)
		}
	}
}
