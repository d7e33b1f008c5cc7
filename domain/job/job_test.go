package job_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/job"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var (
	start  = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	failed = []delivery.Status{delivery.StatusDeadLetter}
)

const id = "job_01KWFRKXS0ZZZZZZZZZZZZZZZZ"

func newJob(f job.Filter) job.Job {
	return job.New(id, "acme", job.Retry, job.Original, f, job.Requester{KeyID: "key_1", KeyName: "ERP"}, start)
}

func TestALife(t *testing.T) {
	j := newJob(job.Filter{Statuses: failed})
	if !j.Open() || j.Status != job.Pending || !j.StartedAt.IsZero() {
		t.Errorf("new: %+v", j)
	}
	j.Advance(job.Tally{Done: 2, Skipped: map[string]int{"paused": 1}}, "dlv_2", start.Add(time.Second))
	j.Advance(job.Tally{Done: 1, Skipped: map[string]int{"paused": 1}, Failed: map[string]int{"gone": 1}}, "dlv_5", start.Add(2*time.Second))
	if j.Status != job.Running || j.After != "dlv_5" || j.Done != 3 || j.Skipped["paused"] != 2 || j.Found() != 6 || !j.StartedAt.Equal(start.Add(time.Second)) {
		t.Errorf("on its way: %+v", j)
	}
	j.Finish(start.Add(3 * time.Second))
	if j.Open() || j.Status != job.Succeeded || !j.FinishedAt.Equal(start.Add(3*time.Second)) {
		t.Errorf("at its end: %+v", j)
	}
	if err := j.Cancel(start); !problem.Is(err, problem.Conflict) {
		t.Errorf("cancelled at its end: %v", err)
	}
}

func TestCancellingTwiceIsFine(t *testing.T) {
	j := newJob(job.Filter{})
	for range 2 {
		if err := j.Cancel(start); err != nil || j.Status != job.Cancelled || j.Open() {
			t.Errorf("%v, %+v", err, j)
		}
	}
}

func TestAJobGivesUpAfterTenStumbles(t *testing.T) {
	j, now := newJob(job.Filter{}), start
	for i := 1; j.Open(); i++ {
		again := j.Stumble(now, false)
		if j.Open() && (!again.After(now) || again.Sub(now) > time.Minute) || i > 10 {
			t.Fatalf("stumble %d: again after %s", i, again.Sub(now))
		}
		now = again
	}
	if j.Status != job.Failed || j.Stumbles != 10 || j.Reason == "" {
		t.Errorf("%+v", j)
	}
	kept := newJob(job.Filter{})
	for range 20 {
		if again := kept.Stumble(start, true); again.Sub(start) > job.LongestPause {
			t.Errorf("again after %s", again.Sub(start))
		}
	}
	if again := kept.Stumble(start, false); !kept.Open() || again.Sub(start) != job.LongestPause {
		t.Errorf("one failure after others that kept it: %+v, again after %s", kept, again.Sub(start))
	}
	well := newJob(job.Filter{})
	well.Stumble(start, false)
	well.Advance(job.Tally{}, "", start)
	if well.Stumbles != 0 || well.Reason != "" {
		t.Errorf("a step that went well does not make up for one that did not: %+v", well)
	}
}

func TestFilter(t *testing.T) {
	d := delivery.Delivery{ID: "dlv_1", SubscriptionID: "sub_1", EventID: "evt_1", EventType: event.VisitReportApproved, Status: delivery.StatusDeadLetter, CreatedAt: start}
	for name, c := range map[string]struct {
		filter job.Filter
		want   bool
	}{
		"all":                {job.Filter{Statuses: failed}, true},
		"status":             {job.Filter{Statuses: []delivery.Status{delivery.StatusSucceeded}}, false},
		"no status":          {job.Filter{}, false},
		"type":               {job.Filter{Statuses: failed, EventTypes: subscription.Filter{"visit_report.*"}}, true},
		"other type":         {job.Filter{Statuses: failed, EventTypes: subscription.Filter{"target.*"}}, false},
		"subscription":       {job.Filter{Statuses: failed, SubscriptionID: "sub_1"}, true},
		"other subscription": {job.Filter{Statuses: failed, SubscriptionID: "sub_2"}, false},
		"event":              {job.Filter{Statuses: failed, EventID: "evt_1"}, true},
		"other event":        {job.Filter{Statuses: failed, EventID: "evt_2"}, false},
		"since is inclusive": {job.Filter{Statuses: failed, Since: start}, true},
		"too old":            {job.Filter{Statuses: failed, Since: start.Add(1)}, false},
		"until is exclusive": {job.Filter{Statuses: failed, Until: start}, false},
		"in time":            {job.Filter{Statuses: failed, Until: start.Add(1)}, true},
	} {
		if got := c.filter.Matches(d); got != c.want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}

// A range by IDs holds every delivery whose time is in the filter's range: the ID is made at that time, a little earlier as the clock was
// set in between, or by a clock that had been ahead and was set back.
func TestTheRangeHoldsWhatTheFilterPicks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := func(name string) time.Time {
			return start.Add(time.Duration(rapid.IntRange(-9000, 0).Draw(t, name)) * time.Second)
		}
		f := job.Filter{Statuses: failed, Since: seconds("since"), Until: seconds("until")}
		created := seconds("created")
		made := created.Add(time.Duration(rapid.IntRange(-60, 24*3600).Draw(t, "later")) * time.Second)
		whole := job.New("job_"+ulid(start.Add(time.Second)), "acme", job.Retry, job.Original, f, job.Requester{}, start)
		delivered := "dlv_" + ulid(made)
		whole.ReachTo(delivered)
		if f.Matches(delivery.Delivery{Status: failed[0], CreatedAt: created}) && (delivered <= whole.After || delivered > whole.UpTo()) {
			t.Fatalf("%s is not in %q to %q", delivered, whole.After, whole.UpTo())
		}
	})
	if j := newJob(job.Filter{}); j.After != "" || j.UpTo() != "dlv_01KWFRKXS0ZZZZZZZZZZZZZZZZ" {
		t.Errorf("without a range: %q to %q", j.After, j.UpTo())
	}
}

func TestTheRangeReachesToWhatAClockThatWasAheadHasMade(t *testing.T) {
	soon, far := "dlv_"+ulid(start.Add(time.Minute)), "dlv_"+ulid(start.AddDate(50, 0, 0))
	for _, c := range []struct {
		mode         job.Mode
		newest, want string
	}{
		{job.Original, "dlv_" + ulid(start.Add(-time.Minute)), "dlv_" + ulid(start)},
		{job.Original, soon, soon},
		{job.Original, far, far},
		{job.Rerender, soon, soon},
		{job.Rerender, far, "dlv_" + ulid(start.Add(time.Hour))[:10]}, // waiting for it must end
	} {
		j := job.New("job_"+ulid(start), "acme", job.Replay, c.mode, job.Filter{Statuses: failed}, job.Requester{}, start)
		j.ReachTo(c.newest)
		if j.UpTo() != c.want {
			t.Errorf("%s, newest %s: up to %s, want %s", c.mode, c.newest, j.UpTo(), c.want)
		}
	}
}

// ulid is one of the time (github.com/ulid/spec).
func ulid(at time.Time) string {
	const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	text := []byte("00000000000123456789ABCDEF")
	for i, ms := 9, at.UnixMilli(); i >= 0; i, ms = i-1, ms>>5 {
		text[i] = digits[ms&31]
	}
	return string(text)
}

// What is stored is read back as it was, and what was stored once can be read for ever.
func TestStoredForm(t *testing.T) {
	const stored = `{"id":"job_01KWFRKXS0ZZZZZZZZZZZZZZZZ","tenantId":"acme","kind":"replay","mode":"rerender","filter":{"subscriptionId":"sub_1",` +
		`"eventId":"evt_1","eventTypes":["*"],"statuses":["dead_letter"],"since":"2026-07-01T12:00:00Z","until":"2026-07-01T13:00:00Z"},"status":"failed","reason":"r",` +
		`"requestedBy":{"keyId":"key_1","keyName":"ERP","traceparent":"00-1"},"done":1,"skipped":{"a":2},"failed":{"b":3},"newest":"dlv_2","after":"dlv_1","lastEvent":7,"afterEvent":6,"stumbles":4,` +
		`"createdAt":"2026-07-01T12:00:00Z","startedAt":"2026-07-01T12:00:01Z","finishedAt":"2026-07-01T12:00:02Z","updatedAt":"2026-07-01T12:00:03Z"}`
	var j job.Job
	if err := json.Unmarshal([]byte(stored), &j); err != nil {
		t.Fatal(err)
	}
	for i, v := 0, reflect.ValueOf(j); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not in the stored form", v.Type().Field(i).Name)
		}
	}
	if again, err := json.Marshal(j); err != nil || string(again) != stored {
		t.Errorf("%v: it is stored as\n%s, and was\n%s", err, again, stored)
	}
}

func TestWhatAJobPicksOfEvents(t *testing.T) {
	f := job.Filter{EventTypes: subscription.Filter{"target.*"}, Since: start, Until: start.Add(time.Hour)}
	for _, c := range []struct {
		filter   job.Filter
		kind     event.Type
		accepted time.Time
		want     bool
	}{
		{f, event.TargetImported, start, true},
		{f, event.TargetImported, start.Add(time.Hour - 1), true},
		{f, event.TargetImported, start.Add(-1), false},
		{f, event.TargetImported, start.Add(time.Hour), false},
		{f, event.VisitReportApproved, start, false},
		{job.Filter{}, event.VisitReportApproved, start, true},
	} {
		if got := c.filter.Accepts(c.kind, c.accepted); got != c.want {
			t.Errorf("%s at %s: %t", c.kind, c.accepted, got)
		}
	}
	if j := job.New(id, "acme", job.Replay, job.Missing, f, job.Requester{}, start); j.After != "" || j.AfterEvent != 0 {
		t.Errorf("it begins behind %q and %d", j.After, j.AfterEvent)
	}
}
