package postgres

import "time"

// sameClock is how far this process's clock may be from the server's and still pass for the same.
const sameClock = 500 * time.Millisecond

// onServer is a time of this process's clock by that of the server, in microseconds: who lives is judged by one clock, however far those
// of the processes are apart. It is never later than the server has it by more than sameClock.
func (db *DB) onServer(t time.Time) int64 { return t.UnixMicro() + db.skew.Load() }

// learnSkew takes the server's time from an answer that has just come. An answer that was long on its way makes this clock seem further
// ahead than it is, and nobody seem dead who lives.
func (db *DB) learnSkew(server int64) {
	skew := server - db.config.Now().UnixMicro()
	if (time.Duration(skew) * time.Microsecond).Abs() < sameClock {
		skew = 0
	}
	db.skew.Store(skew)
}
