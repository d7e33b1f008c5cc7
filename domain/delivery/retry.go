package delivery

import "time"

// MaxRetryAfter bounds what a receiver may ask for with Retry-After (contract, section 4).
const MaxRetryAfter = 24 * time.Hour

// maxJitter is the share of a delay that jitter may add (contract, section 4).
const maxJitter = 0.10

// NextDelay is the wait after a failure, given how many came before it in this run
// through the schedule; false when the schedule is used up. Retry-After moves the
// attempt later, never earlier. Jitter is in [0, 1) and adds up to 10 %.
func NextDelay(schedule []time.Duration, failures int, retryAfter time.Duration, jitter float64) (time.Duration, bool) {
	if failures >= len(schedule) {
		return 0, false
	}
	delay := schedule[failures]
	delay += time.Duration(float64(delay) * maxJitter * jitter).Truncate(time.Millisecond)
	return max(delay, min(retryAfter, MaxRetryAfter)), true
}
