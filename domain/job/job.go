// Package job is work on many deliveries that an admin has asked for: bulk retries and replays. A job walks the deliveries that
// its filter picks, or the events that a subscription got none of, oldest first, and remembers how far it has come.
package job

import (
	"slices"
	"strings"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// MaxOpen bounds the jobs of a tenant that are not finished.
const MaxOpen = 10

// Kind is what was asked for.
type Kind string

// The kinds: a retry is about deliveries; a replay about the events that one subscription got, each by its newest delivery, or that
// it never got.
const (
	Retry  Kind = "retry"
	Replay Kind = "replay"
)

// Mode is what is sent (contract, section 5).
type Mode string

// The modes: the stored bytes under the same delivery ID; a new delivery rendered with today's options and directory; or such a
// first one of each event that has none and matches the subscription as it is.
const (
	Original Mode = "original"
	Rerender Mode = "rerender"
	Missing  Mode = "missing"
)

// Status is where a job stands.
type Status string

// The statuses; the last three are final.
const (
	Pending   Status = "pending"
	Running   Status = "running"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Cancelled Status = "cancelled"
)

// Filter picks deliveries of one tenant; a zero field picks all.
type Filter struct {
	SubscriptionID string              `json:"subscriptionId,omitempty"`
	EventID        string              `json:"eventId,omitempty"`
	EventTypes     subscription.Filter `json:"eventTypes,omitempty"`
	// Statuses are those in which a delivery may be sent again; see delivery.Status.IsRetryable.
	Statuses []delivery.Status `json:"statuses"`
	// Since and Until are about the delivery's creation, with the mode Missing about the event's acceptance; until is exclusive.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
}

// Matches reports whether the filter picks the delivery.
func (f Filter) Matches(d delivery.Delivery) bool {
	return (f.SubscriptionID == "" || f.SubscriptionID == d.SubscriptionID) && (f.EventID == "" || f.EventID == d.EventID) &&
		(len(f.EventTypes) == 0 || f.EventTypes.Matches(d.EventType)) && slices.Contains(f.Statuses, d.Status) &&
		!d.CreatedAt.Before(f.Since) && (f.Until.IsZero() || d.CreatedAt.Before(f.Until))
}

// Accepts reports whether the filter picks an event that the subscription may have no delivery of.
func (f Filter) Accepts(t event.Type, accepted time.Time) bool {
	return (len(f.EventTypes) == 0 || f.EventTypes.Matches(t)) && !accepted.Before(f.Since) && (f.Until.IsZero() || accepted.Before(f.Until))
}

// Requester is who asked, and in which request.
type Requester struct {
	KeyID       string `json:"keyId"`
	KeyName     string `json:"keyName"`
	TraceParent string `json:"traceparent,omitempty"`
}

// Job is one such piece of work. What was found so far is the sum of what was done, was skipped and has failed.
type Job struct {
	ID          string    `json:"id"`
	Tenant      tenant.ID `json:"tenantId"`
	Kind        Kind      `json:"kind"`
	Mode        Mode      `json:"mode"`
	Filter      Filter    `json:"filter"`
	Status      Status    `json:"status"`
	Reason      string    `json:"reason,omitempty"` // why it failed, or stands still
	RequestedBy Requester `json:"requestedBy"`
	Tally
	// Newest is the last delivery that existed when the job was asked for: beyond the job's own ID when a clock was ahead.
	Newest string `json:"newest,omitempty"`
	// After is the ID of the last delivery that was looked at.
	After string `json:"after,omitempty"`
	// LastEvent and AfterEvent are the same for the mode Missing: sequences of the tenant's events.
	LastEvent  int64 `json:"lastEvent,omitempty"`
	AfterEvent int64 `json:"afterEvent,omitempty"`
	// Stumbles counts the steps in a row that could not be done.
	Stumbles   int       `json:"stumbles,omitempty"`
	CreatedAt  time.Time `json:"createdAt"`
	StartedAt  time.Time `json:"startedAt,omitzero"`
	FinishedAt time.Time `json:"finishedAt,omitzero"`
	UpdatedAt  time.Time `json:"updatedAt"`
}

// Tally counts what became of the deliveries that were found; skipped and failed ones by reason.
type Tally struct {
	Done    int            `json:"done"`
	Skipped map[string]int `json:"skipped,omitempty"`
	Failed  map[string]int `json:"failed,omitempty"`
}

// Found is how many deliveries were found.
func (t Tally) Found() int { return t.Done + Sum(t.Skipped) + Sum(t.Failed) }

// Sum adds up the counts of all reasons.
func Sum(byReason map[string]int) (n int) {
	for _, count := range byReason {
		n += count
	}
	return n
}

// Skip notes a delivery that was left alone.
func (t *Tally) Skip(reason string) { t.Skipped = count(t.Skipped, reason, 1) }

// Fail notes one that could not be done.
func (t *Tally) Fail(reason string) { t.Failed = count(t.Failed, reason, 1) }

// Add adds another tally.
func (t *Tally) Add(other Tally) {
	t.Done += other.Done
	for reason, n := range other.Skipped {
		t.Skipped = count(t.Skipped, reason, n)
	}
	for reason, n := range other.Failed {
		t.Failed = count(t.Failed, reason, n)
	}
}

func count(byReason map[string]int, reason string, n int) map[string]int {
	counted := map[string]int{reason: n}
	for known, before := range byReason {
		counted[known] += before
	}
	return counted
}

// New begins a job whose ID is job_ and a ULID.
func New(id string, owner tenant.ID, kind Kind, mode Mode, filter Filter, by Requester, now time.Time) Job {
	j := Job{ID: id, Tenant: owner, Kind: kind, Mode: mode, Filter: filter, Status: Pending, RequestedBy: by, CreatedAt: now, UpdatedAt: now}
	if !filter.Since.IsZero() && mode != Missing {
		j.After = idsFrom(filter.Since.Add(-idEarlier))
	}
	return j
}

// How far the time in a delivery's ID may lie from its creation: as far as lists of deliveries reckon with (adapters/ids), so that a job
// finds what a list of the same time shows.
const (
	idEarlier = time.Minute
	idLater   = 24 * time.Hour
)

// longestWait bounds how far ahead a clock may have been for a job that renders anew.
const longestWait = time.Hour

// ReachTo includes what was made while a clock was ahead. A job that renders anew must wait until the clock has passed it, lest
// it find what it makes itself: an hour at most.
func (j *Job) ReachTo(newest string) {
	if j.Mode == Rerender {
		newest = min(newest, idsFrom(j.CreatedAt.Add(longestWait)))
	}
	j.Newest = newest
}

// What a job may have to wait for.
const (
	TheClock = "it waits until the clock has passed the newest delivery, which was made by a clock that was ahead"
	FanOut   = "it waits until fan-out is done with the events that were accepted before it was asked for"
	Room     = "it waits until fewer deliveries are unfinished: jobs begin no more once about half as many are as there may be"
)

// Await notes that the job stands still, and until when.
func (j *Job) Await(reason string, now time.Time) { j.Reason, j.UpdatedAt = reason, now }

// UpTo is the last ID that a delivery of the job may have. It was made before the job, so what the job makes lies beyond it.
func (j Job) UpTo() string {
	last := max("dlv_"+strings.TrimPrefix(j.ID, "job_"), j.Newest)
	if j.Filter.Until.IsZero() {
		return last
	}
	return min(last, idsFrom(j.Filter.Until.Add(idLater)))
}

// digits are those of a ULID (github.com/ulid/spec).
const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// idsFrom is the beginning of the IDs of deliveries made in this millisecond: the first ten characters of a ULID are the time,
// so that IDs sort by time.
func idsFrom(at time.Time) string {
	var text [10]byte
	for i, millis := len(text)-1, max(0, at.UnixMilli()); i >= 0; i, millis = i-1, millis/32 {
		text[i] = digits[millis%32]
	}
	return "dlv_" + string(text[:])
}

// Open reports whether the job is still to be worked on.
func (j Job) Open() bool { return j.Status == Pending || j.Status == Running }

// Advance adds one step: its tally, and the delivery that it ended with.
func (j *Job) Advance(done Tally, after string, now time.Time) {
	if j.StartedAt.IsZero() {
		j.StartedAt = now
	}
	j.Status, j.Reason, j.Stumbles, j.After, j.UpdatedAt = Running, "", 0, after, now
	j.Add(done)
}

// Finish ends a job that has reached the end of its deliveries.
func (j *Job) Finish(now time.Time) { j.end(Succeeded, "", now) }

// GiveUp ends a job that cannot go on.
func (j *Job) GiveUp(reason string, now time.Time) { j.end(Failed, reason, now) }

// Cancel ends a job where it stands; what it has done stays done. One already cancelled stays as it is.
func (j *Job) Cancel(now time.Time) error {
	switch {
	case j.Status == Cancelled:
		return nil
	case !j.Open():
		return problem.New(problem.Conflict, "Job %s has %s: there is nothing left to cancel.", j.ID, j.Status)
	}
	j.end(Cancelled, "", now)
	return nil
}

func (j *Job) end(status Status, reason string, now time.Time) {
	j.Status, j.Reason, j.FinishedAt, j.UpdatedAt = status, reason, now, now
}

const (
	maxStumbles = 10
	mostKept    = 7
	firstPause  = time.Second
	// LongestPause is the longest time between two turns of a job.
	LongestPause = time.Minute
)

// Stumble notes a failed step and returns when to try again; after ten in a row the job gives up, unless it was kept from going on: then
// that is waited for as everything else waits for it, and counts no further than makes for the longest pause.
func (j *Job) Stumble(now time.Time, kept bool) (again time.Time) {
	if !kept || j.Stumbles < mostKept {
		j.Stumbles++
	}
	j.UpdatedAt = now
	if j.Stumbles >= maxStumbles {
		j.GiveUp("it could not go on, in ten attempts; the service's log says why", now)
		return now
	}
	j.Reason = "the last step could not be done and is tried again"
	return now.Add(min(firstPause<<(j.Stumbles-1), LongestPause))
}
