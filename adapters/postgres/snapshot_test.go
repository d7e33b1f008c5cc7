package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// ofLane inserts what is pending of a lane, due at its number.
const ofLane = `INSERT INTO open_deliveries (tenant_id, delivery_id, event_id, event_type, subscription_id, subscription_version, body_number, warnings, status, version, attempts, failures,
abandonments, created_at, updated_at, due_at, accepted_at, traceparent, waiting)
SELECT 'acme', 'dlv_' || lpad(n::text, 26, '0'), 'evt_' || n, 'target.imported', $1, 1, 1, '[]', 'pending', 1, 0, 0, 0, n, n, n, n, '', false FROM generate_series($2::int, $3::int) AS n`

// TestAnOldSnapshotLengthensNoSearch has a lane's deliveries leased and delivered while somebody reads as of before, as a backup does:
// their entries of the indexes stay, and what runs every second or turn does not walk over them.
func TestAnOldSnapshotLengthensNoSearch(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	run := runs(t, db)
	run(ofLane, "sub_2", 1, longLane)
	endBackup := backUp(t, db)
	run(`UPDATE open_deliveries SET lease = 'inc_2'`)
	run(`DELETE FROM open_deliveries WHERE due_at <= $1`, longLane-2)
	if left := db.vacuum(t.Context()); left < longLane {
		t.Errorf("a vacuum beside the backup left %d dead rows", left)
	}
	run(ofLane, "sub_1", longLane+1, longLane+1)
	run(ofLane, "sub_2", longLane+2, longLane+9)
	run(ofLane, "sub_3", longLane+10, longLane+10)
	run(`INSERT INTO incarnations (incarnation, started_at, heartbeat_at) VALUES ('inc_1', 1, 1), ('inc_2', 9, 9), ('inc_3', 9, 9)`)

	const few = 60 // blocks; what was leased has some 300
	if got := blocks(t, db, orphans, int64(5), int64(8), 500, "ordinavo 9", int64(1)<<60); got > few {
		t.Errorf("to look for what the dead hold, %d blocks were read", got)
	}
	h := newLaneHeads()
	if got := blocksOfWalk(t, db, &h); got < 4*few {
		t.Errorf("without heads the walk over the lanes reads %d blocks: the test would not see a long lane", got)
	}
	h.left(dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_2"}, longLane+1, time.Now(), time.Hour, longLane)
	if got := blocksOfWalk(t, db, &h); got > few {
		t.Errorf("the walk over the lanes read %d blocks", got)
	}
	endBackup()
	if left := db.vacuum(t.Context()); left > 0 {
		t.Errorf("a vacuum after the backup left %d dead rows", left)
	}
}

// walks is what reads all that a tenant or a lane has, so also what it has had since the snapshot began: it is asked for by people,
// by jobs and once a week.
var walks = []string{"list: all", "list: of a subscription", "list: since", "open of a tenant", "counts of a lane", "walk: all", "walk: a subscription", "walk: what failed", "weeks: what stays"}

// TestAnOldSnapshotLengthensNoHotQuery has one lane's deliveries delivered while somebody reads as of before, and the queue taken
// for empty since. Short IDs of events give their index less height than the others have.
func TestAnOldSnapshotLengthensNoHotQuery(t *testing.T) {
	t.Parallel()
	for name, zeros := range map[string]string{"short events": "", "long events": strings.Repeat("0", 22)} {
		t.Run(name, func(t *testing.T) {
			db := openEmpty(t)
			run, queries := runs(t, db), hot()
			maps.DeleteFunc(queries, func(_ string, q hotQuery) bool { return !strings.Contains(q.sql, "open_deliveries") })
			before := map[string]int{}
			for name, q := range queries {
				before[name] = blocks(t, db, q.sql, q.args...)
			}
			fill := strings.NewReplacer(`'acme'`, `'t7'`, `'evt_'`, `'evt_`+zeros+`'`).Replace(ofLane)
			const dead, subscription = 4 * longLane, "sub_00000000000000000000000007"
			backUp(t, db)
			run(fill, subscription, 1, dead)
			run(`DELETE FROM open_deliveries`)
			if left := db.vacuum(t.Context()); left < dead {
				t.Errorf("a vacuum beside the backup left %d dead rows", left)
			}
			run(fill, subscription, 107, 107) // which the queries save
			run(`INSERT INTO records (position, topic, tenant_id, stream, version, type, data, metadata, recorded_at, week)
SELECT 500001, 'deliveries', tenant_id, 'delivery/' || delivery_id, 2, $1, '{}', '{}', 1, 0 FROM open_deliveries`, delivery.EndTypes()[0])
			for name, q := range queries {
				const few = 400 // blocks, for up to 100 rows; all that was delivered are 1,300 at least
				got := blocks(t, db, q.sql, q.args...) - before[name]
				if walk := slices.Contains(walks, name); walk != (got > few) {
					t.Errorf("%s read %d blocks more than without: that it walks is %v", name, got, walk)
				}
			}
		})
	}
}

// runs is for statements that prepare a test.
func runs(t *testing.T, db *DB) func(sql string, args ...any) {
	return func(sql string, args ...any) {
		t.Helper()
		if _, err := db.pool.Exec(t.Context(), sql, args...); err != nil {
			t.Fatalf("%.60s: %v", sql, err)
		}
	}
}

// backUp holds a snapshot open, as a backup does, until it is ended or the test is.
func backUp(t *testing.T, db *DB) (end func()) {
	t.Helper()
	backup, err := db.pool.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		t.Fatal(err)
	}
	end = func() { _ = backup.Rollback(context.Background()) }
	t.Cleanup(end)
	for _, sql := range []string{`SET LOCAL ` + idleTimeout + ` = 0`, `SELECT count(*) FROM open_deliveries`} {
		if _, err := backup.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	return end
}

func blocksOfWalk(t *testing.T, db *DB, h *laneHeads) (n int) {
	t.Helper()
	b := &pgx.Batch{}
	w := laneWalk{began: time.Now()}
	w.queue(b, dispatch.LookRequest{Lanes: 256}, h.longFrom(""))
	for _, q := range b.QueuedQueries {
		n += blocks(t, db, q.SQL, q.Arguments...)
	}
	return n
}

// blocks is how many blocks a query looks at. What it writes is undone.
func blocks(t *testing.T, db *DB, sql string, args ...any) int {
	t.Helper()
	tx, err := db.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	var text []byte
	if err := tx.QueryRow(t.Context(), `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) `+sql, args...).Scan(&text); err != nil {
		t.Fatal(err)
	}
	var plans []struct {
		Plan struct {
			Hit  int `json:"Shared Hit Blocks"`
			Read int `json:"Shared Read Blocks"`
		}
	}
	if err := json.Unmarshal(text, &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan.Hit + plans[0].Plan.Read
}

// TestTheWalkFindsLongLanesInTheirPlaces, with whatever is known of some lanes, page by page.
func TestTheWalkFindsLongLanesInTheirPlaces(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	var ids []string
	for n := range 3 * mostLong {
		ids = append(ids, fmt.Sprintf("sub_%02d", n))
	}
	for n, id := range ids {
		if n%3 > 0 {
			if _, err := db.pool.Exec(t.Context(), ofLane, id, n, n); err != nil {
				t.Fatal(err)
			}
		}
	}
	now := time.Now()
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		s := NewStore(db, nil)
		for n, id := range ids {
			if random.IntN(2) == 0 {
				s.heads.left(dispatch.Lane{Tenant: "acme", SubscriptionID: id}, int64(n-random.IntN(2)), now, time.Duration(random.IntN(2))*time.Hour, random.IntN(2*longLane))
			}
		}
		limit, want := 1+random.IntN(len(ids)), 2*mostLong
		var found []string
		for after := ""; ; {
			answer, err := s.Look(t.Context(), dispatch.LookRequest{Now: now, After: after, Lanes: limit})
			if err != nil {
				t.Fatal(err)
			}
			for _, l := range answer.Ready {
				after = l.SubscriptionID
				found = append(found, after)
			}
			if len(answer.Ready) < limit {
				break
			}
		}
		if len(found) != want || !slices.IsSorted(found) || len(slices.Compact(found)) != want {
			t.Errorf("seed %d, by %d: found %d of %d lanes: %v", seed, limit, len(found), want, found)
		}
	}
}
