package reconciliation

import "time"

// Week is counted from 1970, as a store counts that keeps what is made of an event by the week of its acceptance.
const Week = 7 * 24 * time.Hour

// OfReplay stands in for the time when a replay's event was accepted: the beginning of its week, where no disposition is counted.
func OfReplay(accepted time.Time) time.Time {
	return time.UnixMicro(accepted.UnixMicro() - sinceWeekBegan(accepted)).UTC()
}

// OfDisposition is when a disposition's event was accepted; not with the first microsecond of a week, which is for replays.
func OfDisposition(accepted time.Time) time.Time {
	if IsOfReplay(accepted) {
		return accepted.Add(time.Microsecond)
	}
	return accepted
}

// IsOfReplay tells what OfReplay gives from what OfDisposition gives.
func IsOfReplay(accepted time.Time) bool { return sinceWeekBegan(accepted) == 0 }

func sinceWeekBegan(at time.Time) (micros int64) { return at.UnixMicro() % Week.Microseconds() }
