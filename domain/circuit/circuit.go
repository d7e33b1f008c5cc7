// Package circuit decides how many attempts at once a receiver gets: fewer when it slows down or
// asks for it, one now and then while it fails, more and more when it is back.
package circuit

import (
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// State is the circuit breaker's, in the words of the field.
type State string

// The states: closed sends, open sends nothing, half-open sends one probe.
const (
	Closed   State = "closed"
	Open     State = "open"
	HalfOpen State = "half_open"
)

// When a circuit opens, and for how long.
const (
	// FailuresToOpen is how many attempts in a row must fail, over at least FailingToOpen.
	FailuresToOpen = 10
	FailingToOpen  = 30 * time.Second
	firstCooldown  = 5 * time.Second
	lastCooldown   = time.Minute
)

// How long the backlog of a still closed circuit pauses after failures in a row: not at all after one, then twice as long after
// each. Until the circuit opens, a receiver that is down would otherwise be called as fast as it refuses.
const (
	firstPause = 10 * time.Millisecond
	lastPause  = time.Second
)

// Circuit is what is known of one receiver; the zero value knows nothing, and is closed.
type Circuit struct {
	window   int       // attempts at once; 0 for as many as the subscription allows
	answered int       // successes since the window last grew
	failures int       // in a row
	since    time.Time // of the first of them
	openings int       // in a row, without a success between them
	paused   time.Time // end of the pause of a closed circuit
	until    time.Time // when a circuit that is not closed lets a probe through
	spared   time.Time // since when; zero while the receiver gets all that its subscription allows
	pace     pace
}

// Report is what others are told of a circuit; in the zero value the receiver gets all that its subscription allows.
type Report struct {
	Since  time.Time // since when it gets less
	Until  time.Time // when a probe is let through; zero for a closed circuit
	Window int       // attempts at once of a closed circuit
}

// Report is what to tell.
func (c Circuit) Report() Report {
	if !c.until.IsZero() {
		return Report{Since: c.spared, Until: c.until}
	}
	return Report{Since: c.spared, Window: c.window}
}

// State is the state at a time.
func (c Circuit) State(now time.Time) State { return c.Report().State(now) }

// State is the state at a time.
func (r Report) State(now time.Time) State {
	switch {
	case r.Until.IsZero():
		return Closed
	case now.Before(r.Until) && r.Until.Sub(now) <= lastCooldown: // else the clock was set back
		return Open
	default:
		return HalfOpen
	}
}

// Wait is how long the receiver gets nothing of its backlog: a pause between failures, or until a probe. A longer wait than
// there can be was noted before the clock was set back, and is over.
func (c Circuit) Wait(now time.Time) time.Duration {
	until, most := c.paused, lastPause
	if !c.until.IsZero() {
		until, most = c.until, lastCooldown
	}
	if wait := until.Sub(now); wait <= most {
		return max(wait, 0)
	}
	return 0
}

// Known reports whether there is anything to remember while nothing is sent; how fast the receiver was does not count.
func (c Circuit) Known() bool {
	c.pace = pace{}
	return c != Circuit{}
}

// Limit is how many attempts at once the receiver gets, out of the maxInFlight that the subscription allows.
func (c Circuit) Limit(maxInFlight int, now time.Time) int { return c.Report().Limit(maxInFlight, now) }

// Limit is how many attempts at once the receiver gets, out of the maxInFlight that the subscription allows.
func (r Report) Limit(maxInFlight int, now time.Time) int {
	switch r.State(now) {
	case Open:
		return 0
	case HalfOpen:
		return 1
	default:
		if r.Window == 0 {
			return maxInFlight
		}
		return min(r.Window, maxInFlight)
	}
}

// Record learns from the outcome of an attempt that began when maxInFlight were allowed.
func (c Circuit) Record(o delivery.Outcome, maxInFlight int, now time.Time) Circuit {
	switch {
	case o.Succeeded():
		return c.succeeded(o, maxInFlight, now)
	case sick(o):
		return c.failed(o, maxInFlight, now)
	default: // the receiver is well, and refuses this delivery
		return c
	}
}

// RecordMadeUp learns from a failure after which the receiver has succeeded, as was recorded before: it is none in a row.
func (c Circuit) RecordMadeUp(o delivery.Outcome, maxInFlight int, now time.Time) Circuit {
	if !c.until.IsZero() || !overloaded(o) {
		return c
	}
	return c.relieved(maxInFlight).sparedFrom(now)
}

// sick tells a receiver in trouble from one that answers no.
func sick(o delivery.Outcome) bool {
	switch o.Kind {
	case delivery.KindHTTPStatus:
		return o.Status >= 500 || overloaded(o)
	case delivery.KindTimeout, delivery.KindConnectionRefused, delivery.KindConnectionLost, delivery.KindDNS, delivery.KindTLS, delivery.KindBlockedAddress:
		return true
	case delivery.KindSucceeded, delivery.KindRedirect, delivery.KindResponseTooLarge, delivery.KindLeaseExpired:
		return false
	default:
		return false
	}
}

// overloaded is a receiver that asks for less, or cannot keep up.
func overloaded(o delivery.Outcome) bool {
	return o.Status == 429 || o.Status == 503 || o.Kind == delivery.KindTimeout
}

// succeeded lets the window grow: it doubles with each windowful of successes, so that a receiver that comes back gets its
// backlog at a ramp and not as a herd. A receiver whose answers have become slow gets less.
func (c Circuit) succeeded(o delivery.Outcome, maxInFlight int, now time.Time) Circuit {
	if !c.until.IsZero() {
		return Circuit{window: 1, spared: c.spared, pace: c.pace}.grown(maxInFlight)
	}
	c.failures, c.since, c.paused = 0, time.Time{}, time.Time{}
	slow := false
	if c.pace, slow = c.pace.answered(o.Duration, c.limitOf(maxInFlight), maxInFlight); slow {
		return c.slowed(maxInFlight, now)
	}
	return c.grown(maxInFlight)
}

func (c Circuit) grown(maxInFlight int) Circuit {
	if c.window == 0 {
		return c
	}
	if c.answered++; c.answered < c.window {
		return c
	}
	c.window, c.answered = 2*c.window, 0
	if c.window >= maxInFlight {
		c.window, c.spared = 0, time.Time{}
	}
	return c
}

func (c Circuit) failed(o delivery.Outcome, maxInFlight int, now time.Time) Circuit {
	if c.failures++; c.failures == 1 || c.since.After(now) { // or the clock was set back
		c.since = now
	}
	c.answered = 0
	if overloaded(o) {
		c = c.relieved(maxInFlight)
	}
	if c.State(now) != Closed || c.failures >= FailuresToOpen && now.Sub(c.since) >= FailingToOpen {
		c = c.opened(o, now)
	} else if c.failures > 1 {
		c.paused = now.Add(min(firstPause<<min(c.failures-2, 10), lastPause))
	}
	return c.sparedFrom(now)
}

// relieved halves what the receiver gets.
func (c Circuit) relieved(maxInFlight int) Circuit {
	c.window, c.answered = max(1, c.limitOf(maxInFlight)/2), 0
	return c
}

// sparedFrom notes that the receiver gets less from now on, if it does.
func (c Circuit) sparedFrom(now time.Time) Circuit {
	if c.spared.IsZero() && c.Report() != (Report{}) {
		c.spared = now
	}
	return c
}

func (c Circuit) limitOf(maxInFlight int) int {
	if c.window == 0 {
		return maxInFlight
	}
	return c.window
}

// opened waits longer each time; attempts that were already out when it opened do not prolong it.
func (c Circuit) opened(o delivery.Outcome, now time.Time) Circuit {
	if c.State(now) == Open {
		return c
	}
	cooldown := min(firstCooldown<<min(c.openings, 10), lastCooldown)
	c.openings++
	c.until = now.Add(max(cooldown, min(o.RetryAfter, lastCooldown)))
	return c
}
