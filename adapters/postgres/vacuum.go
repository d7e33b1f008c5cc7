package postgres

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// The queue's rows come and go at the rate of deliveries. Autovacuum looks once a minute by default: until then the room of
// all that was delivered in between stays lost, and searches walk over it. So who has made so many rows dead has the queue
// vacuumed, for no more than this part of the time, however large a backlog makes it.
const (
	vacuumAfter = 2000
	vacuumShare = 20
	// While an old snapshot is held open, what is dead has to stay, and each vacuum reads more in vain. One that left so many dead rows
	// is followed by so much longer a rest, but for this at most.
	mostLeft = 5 * vacuumAfter // more than dies during one
	inVain   = 20
	vainRest = time.Minute
	// vacuumTimeout bounds one that waits for its table.
	vacuumTimeout = 5 * time.Minute
)

// Another that works on the table is reason enough to leave it. The end of the table is kept: to cut it off takes a lock
// that everybody would wait for.
const vacuumQueue = `VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0) open_deliveries`

// leftDead is how many dead rows the last vacuum had to leave, and those of since then.
const leftDead = `SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'open_deliveries'::regclass`

// vacuums is when the queue is vacuumed by this process.
type vacuums struct {
	mu      sync.Mutex
	dead    int // rows, by this process, since the last one
	running bool
	next    time.Time // before it none is begun
}

// begin counts dead rows, and reports whether it is time for one. Then end is to be called.
func (v *vacuums) begin(dead int, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.dead += dead
	if v.running || v.dead < vacuumAfter || now.Before(v.next) {
		return false
	}
	v.dead, v.running = 0, true
	return true
}

// end notes how many dead rows were left.
func (v *vacuums) end(began, now time.Time, left int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.running = false
	rest := vacuumShare * now.Sub(began)
	if left >= mostLeft {
		rest = max(rest, min(inVain*rest, vainRest))
	}
	v.next = now.Add(rest)
}

// died notes that a transaction has made rows of the queue dead.
func (db *DB) died(rows int) {
	if began := time.Now(); db.closing.Err() == nil && db.vacuums.begin(rows, began) {
		db.running.Go(func() {
			left := 0
			defer func() { db.vacuums.end(began, time.Now(), left) }()
			left = db.vacuum(db.closing)
		})
	}
}

// vacuum says how many dead rows it left. It does nothing but for room and speed: what fails is tried again when it is time for the next.
func (db *DB) vacuum(ctx context.Context) (left int) {
	ctx, cancel := context.WithTimeout(ctx, vacuumTimeout)
	defer cancel()
	conn, err := db.acquire(ctx)
	if err != nil {
		return 0
	}
	defer conn.Release()
	if _, err = conn.Exec(ctx, vacuumQueue, pgx.QueryExecModeSimpleProtocol); err == nil {
		err = conn.QueryRow(ctx, leftDead).Scan(&left)
	}
	if err != nil && ctx.Err() == nil {
		db.config.Logger.LogAttrs(ctx, slog.LevelWarn, "the queue was not vacuumed", slog.Any("error", err))
	}
	return left
}
