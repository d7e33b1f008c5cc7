package intake

import "time"

// Pacing of the counts: counting a long queue takes long, so it may take 1/50 of one connection's time.
const (
	countPause    = 50 // times as long as the count took
	shortestPause = 20 * time.Millisecond
	longestPause  = time.Minute
	// 1/unseen of its share is what a process takes before it wants another count.
	unseen = 8
	// 1/besideOthers of its share is the most that a process takes by one count while there are other processes.
	besideOthers = 4
	// together is the time within which accepted events are remembered as one entry.
	together = 100 * time.Millisecond
)

// room is what a bound on open deliveries leaves to this process: an even share of what was free at the last count, less what
// it has accepted that may not be in that count.
type room struct {
	limit     int // 0 is no bound
	open      int // at the last count, no more than limit
	countedAt time.Time
	countAt   time.Time // no count before then
	asked     bool      // a count has been asked for since the last one

	held   float64 // deliveries of events that wait to be accepted
	recent []taken // events accepted since then, or earlier and not fanned out by then
	taken  float64 // sum of recent
	sealed bool    // the last entry of recent takes no more
	// uncounted is the part of taken that was accepted since the last count began.
	uncounted float64
}

// taken is the deliveries to come of events that were accepted within a short while.
type taken struct {
	from, to   time.Time
	deliveries float64
}

func (r *room) isFull() bool { return r.limit > 0 && r.open >= r.limit }

// share is an equal part, for each of that many processes, of what was free at the last count.
func (r *room) share(processes int) float64 { return float64(r.limit-r.open) / float64(processes) }

// hasSpace reports whether there is room for another request. Other processes may have counted later than this one and taken
// what it saw as free. So while there are others a count is good for only a part of the share, which bounds how far all of them
// together can exceed the limit.
func (r *room) hasSpace(processes int) bool {
	share := r.share(processes)
	return r.limit == 0 || r.held+r.taken < share && (processes == 1 || r.held+r.uncounted < share/besideOthers)
}

// wantsCount reports whether a count would tell something new: there was none yet, or so much of the share is used that others,
// who may have counted since, could have used up the rest.
func (r *room) wantsCount(processes int) bool {
	return r.limit > 0 && !r.isFull() && (r.countedAt.IsZero() || r.held+r.taken > r.share(processes)/unseen)
}

// isDue reports whether it is time to count: at once when a count is wanted, otherwise now and then for what has become free.
func (r *room) isDue(now time.Time, processes int) bool {
	if isAhead(r.countAt, now) {
		return false
	}
	return r.wantsCount(processes) || r.isFull() || r.limit > 0 && r.taken > 0 && !isAhead(r.countedAt.Add(longestPause), now)
}

// isAhead reports whether a pause is not over yet. One longer than any real pause counts as over: the clock was set back.
func isAhead(end, now time.Time) bool {
	left := end.Sub(now)
	return left > 0 && left <= longestPause
}

func (r *room) accept(now time.Time, deliveries float64) {
	if r.limit == 0 {
		return
	}
	last := len(r.recent) - 1
	if last < 0 || r.sealed || now.Sub(r.recent[last].from) >= together {
		r.recent, r.sealed = append(r.recent, taken{from: now}), false
		last++
	}
	r.recent[last].to = now
	r.recent[last].deliveries += deliveries
	r.taken += deliveries
	r.uncounted += deliveries
}

// comeAgain is how long to wait before trying again: briefly, unless the last count found it full.
func (r *room) comeAgain() time.Duration {
	if r.isFull() {
		return 30 * time.Second
	}
	return time.Second
}

// seal is called before a count, which may miss what is accepted from now on.
func (r *room) seal() (before int) {
	r.sealed = true
	return len(r.recent)
}

// counted takes in a count. Of what was accepted before it, only what was not fanned out by then is kept: the rest is among the
// open deliveries, or done. oldest is when the oldest event not fanned out had been accepted; zero for none.
func (r *room) counted(open, before int, oldest, began, ended time.Time) {
	r.open, r.countedAt, r.asked = open, ended, false
	r.countAt = ended.Add(min(max(countPause*ended.Sub(began), shortestPause), longestPause))
	kept := r.recent[:0]
	r.taken, r.uncounted = 0, 0
	for i, t := range r.recent {
		if i >= before {
			r.uncounted += t.deliveries
		}
		if i >= before || !oldest.IsZero() && !t.to.Before(oldest) {
			kept = append(kept, t)
			r.taken += t.deliveries
		}
	}
	r.recent = kept
}
