package postgres

import "time"

// mostSkew is how far this process's clock may be from the server's and still pass for the same, and how long an answer may take that
// says what time it is there.
const mostSkew = 500 * time.Millisecond

// onServer is a time of this process's clock by that of the server, in microseconds: who lives is judged by one clock, however far those
// of the processes are apart.
func (db *DB) onServer(t time.Time) int64 { return t.UnixMicro() + db.skew.Load() }

// learnSkew takes the server's time that was asked for at a time of this process's clock, and has just come.
func (db *DB) learnSkew(asked time.Time, server int64) {
	took := db.config.Now().Sub(asked)
	if took < 0 || took > mostSkew { // this clock was set meanwhile, or the answer is too old
		return
	}
	skew := server - asked.Add(took/2).UnixMicro()
	if time.Duration(skew)*time.Microsecond < mostSkew && time.Duration(-skew)*time.Microsecond < mostSkew {
		skew = 0
	}
	db.skew.Store(skew)
}
