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
	// vacuumTimeout bounds one that waits for its table.
	vacuumTimeout = 5 * time.Minute
)

// Another that works on the table is reason enough to leave it. The end of the table is kept: to cut it off takes a lock
// that everybody would wait for.
const vacuumQueue = `VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0) open_deliveries`

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

func (v *vacuums) end(began, now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.running = false
	v.next = now.Add(vacuumShare * now.Sub(began))
}

// died notes that a transaction has made rows of the queue dead.
func (db *DB) died(rows int) {
	if began := time.Now(); db.closing.Err() == nil && db.vacuums.begin(rows, began) {
		db.running.Go(func() {
			defer func() { db.vacuums.end(began, time.Now()) }()
			db.vacuum(db.closing)
		})
	}
}

// vacuum does nothing but for room and speed: what fails is tried again when it is time for the next.
func (db *DB) vacuum(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, vacuumTimeout)
	defer cancel()
	conn, err := db.acquire(ctx)
	if err != nil {
		return
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, vacuumQueue, pgx.QueryExecModeSimpleProtocol); err != nil && ctx.Err() == nil {
		db.config.Logger.LogAttrs(ctx, slog.LevelWarn, "the queue was not vacuumed", slog.Any("error", err))
	}
}
