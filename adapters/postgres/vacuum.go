package postgres

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// The queue's rows come and go at the rate of deliveries. Autovacuum looks once a minute by default: until then the space of everything
// delivered in between is wasted, and searches walk over it. So the process that has made vacuumAfter rows dead has the queue vacuumed,
// for at most 1/vacuumShare of the time, however long a backlog makes it.
const (
	vacuumAfter = 2000
	vacuumShare = 20
	// While an old snapshot is held open, dead rows have to stay, and each vacuum reads more in vain. One that left at least mostLeft of
	// them is followed by a rest inVain times as long, but no longer than vainRest on that account.
	mostLeft = 5 * vacuumAfter // more than die during one
	inVain   = 20
	vainRest = time.Minute
	// vacuumTimeout bounds a vacuum that waits for its table.
	vacuumTimeout = 5 * time.Minute
)

// If another vacuum works on the table, this one is skipped. The end of the table is not truncated: that takes a lock for which
// everybody would wait.
const vacuumQueue = `VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0) open_deliveries`

// leftDead is how many dead rows the last vacuum had to leave, plus those since then.
const leftDead = `SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = 'open_deliveries'::regclass`

// vacuums decides when this process vacuums the queue.
type vacuums struct {
	mu      sync.Mutex
	dead    int // rows made dead by this process since the last vacuum
	running bool
	next    time.Time // none begins earlier
}

// begin counts dead rows, and reports whether it is time to vacuum. If so, end is to be called.
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

// vacuum returns how many dead rows it left. It only saves space and time: what fails is tried again when the next is due.
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
