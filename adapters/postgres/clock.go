package postgres

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	microsNow  = `(extract(epoch FROM clock_timestamp()) * 1000000)::bigint`
	serverTime = `SELECT ` + microsNow
)

// mostOff is how far a clock may be from what the server says before it follows.
const mostOff = 100 * time.Millisecond

// clock is the server's, as far as it is known here. It goes by the monotonic clock, which nobody sets, from one answer to the next.
type clock struct{ known atomic.Pointer[reading] }

type reading struct {
	server time.Time
	at     time.Time // by the monotonic clock
}

func (r reading) when(at time.Time) time.Time {
	return r.server.Add(at.Sub(r.at)).Truncate(time.Microsecond)
}

func (c *clock) set(server, at time.Time) { c.known.Store(&reading{server.Round(0).UTC(), at}) }

func (c *clock) now() time.Time { return c.known.Load().when(time.Now()) }

// learn takes an answer that has just come. It was right at some time since it was asked for, so one that was long on its way moves nothing
// that it may agree with; and where it does not, this clock is behind afterwards rather than ahead: whoever is to be taken for dead has time.
func (c *clock) learn(asked, server time.Time) {
	known, answered := c.known.Load(), time.Now()
	if server.Before(known.when(asked).Add(-mostOff)) || server.After(known.when(answered).Add(mostOff)) {
		c.set(server, answered)
	}
}

// Now is the server's time, in UTC and to the microsecond. All processes go by it, however far the clocks of their machines are apart: what
// one of them puts off is due for all at the same time, and who lives is judged by one clock. Until the server has answered it is that of
// this machine.
func (db *DB) Now() time.Time { return db.clock.now() }

// learnClock asks for the server's time.
func (db *DB) learnClock(ctx context.Context) error {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var server int64
	asked := time.Now()
	if err := conn.QueryRow(ctx, serverTime).Scan(&server); err != nil {
		return err
	}
	db.clock.learn(asked, moment(&server))
	return nil
}

func scanTime(r pgx.Rows) (at time.Time, err error) {
	var micros int64
	err = r.Scan(&micros)
	return moment(&micros), err
}
