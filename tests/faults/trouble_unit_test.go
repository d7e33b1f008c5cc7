package faults_test

import (
	"testing"
	"time"
)

// TestAnAttemptIsExcusedByWhatWasDoneAlone holds the check itself to failing: what the service writes excuses nothing.
func TestAnAttemptIsExcusedByWhatWasDoneAlone(t *testing.T) {
	at := func(seconds int) time.Time { return time.Date(2026, 3, 1, 12, 0, seconds, 0, time.UTC) }
	killed, stopped := trouble{at(10), at(10)}, trouble{at(20), at(30)}
	arrivalAt := func(came, answered int) arrival { return arrival{at: at(came), answered: at(answered)} }
	for name, c := range map[string]struct {
		began, next int // of the attempt, and of the one after it
		outcome     string
		all         []trouble
		got         []arrival
		want        bool
	}{
		"no fault":                          {1, 7, "lease_expired", nil, nil, false},
		"killed while it was out":           {9, 15, "lease_expired", []trouble{killed}, nil, true},
		"began when all was over":           {11, 16, "lease_expired", []trouble{killed}, nil, false},
		"known to be lost before the fault": {1, 7, "lease_expired", []trouble{killed}, nil, false},
		"stopped, and begun meanwhile":      {25, 40, "lease_expired", []trouble{killed, stopped}, nil, true},
		"between two faults":                {12, 18, "lease_expired", []trouble{killed, stopped}, nil, false},
		"a timeout that nobody caused":      {1, 5, "timeout", nil, []arrival{arrivalAt(1, 1)}, false},
		"a timeout of who was kept waiting": {1, 5, "timeout", nil, []arrival{arrivalAt(1, 5)}, true},
		"a lease, with a slow receiver":     {1, 5, "lease_expired", nil, []arrival{arrivalAt(1, 5)}, false},
	} {
		d := delivery{Attempts: []attempt{{Number: 1, StartedAt: at(c.began), DurationMs: 3000, Outcome: c.outcome}, {Number: 2, StartedAt: at(c.next)}}}
		if got := excused(c.all, d, 0, c.got); got != c.want {
			t.Errorf("%s: excused is %t", name, got)
		}
	}
}
