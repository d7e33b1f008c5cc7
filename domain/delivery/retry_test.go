package delivery_test

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// justBelowOne is the largest jitter there is.
var justBelowOne = math.Nextafter(1, 0)

func TestNextDelay(t *testing.T) {
	const day = 24 * time.Hour
	long := []time.Duration{72 * time.Hour}
	for name, c := range map[string]struct {
		schedule   []time.Duration
		failures   int
		retryAfter time.Duration
		jitter     float64
		want       time.Duration
	}{
		"the first":                        {short, 0, 0, 0, time.Minute},
		"the second":                       {short, 1, 0, 0, time.Hour},
		"half the jitter":                  {short, 0, 0, 0.5, 63 * time.Second},
		"all the jitter":                   {short, 0, 0, justBelowOne, 66*time.Second - time.Millisecond},
		"Retry-After later":                {short, 0, 5 * time.Minute, 0.5, 5 * time.Minute},
		"Retry-After earlier":              {short, 1, 5 * time.Minute, 0, time.Hour},
		"Retry-After within the jitter":    {short, 0, 62 * time.Second, 0.5, 63 * time.Second},
		"Retry-After of a day":             {short, 0, day, 0, day},
		"Retry-After of more than a day":   {short, 0, 400 * day, 0, day},
		"a delay beyond what may be asked": {long, 0, 400 * day, 0, 72 * time.Hour},
		"a date in the past":               {short, 0, -day, 0, time.Minute},
		"a service's own, below a second":  {[]time.Duration{100 * time.Millisecond}, 0, 0, 0.5, 105 * time.Millisecond},
	} {
		if got, again := delivery.NextDelay(c.schedule, c.failures, c.retryAfter, c.jitter); got != c.want || !again {
			t.Errorf("%s: got %s, %t; want %s", name, got, again, c.want)
		}
	}
}

func TestAScheduleEnds(t *testing.T) {
	for _, failures := range []int{2, 3, 1000} {
		if delay, again := delivery.NextDelay(short, failures, time.Hour, 0); again || delay != 0 {
			t.Errorf("after %d failures: got %s, %t", failures, delay, again)
		}
	}
	if _, again := delivery.NextDelay(nil, 0, time.Hour, 0); again {
		t.Error("an empty schedule has a next attempt")
	}
}

func TestJitterAddsAtMostATenth(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schedule := rapid.SliceOfN(delays(), 1, 20).Draw(t, "schedule")
		failures := rapid.IntRange(0, len(schedule)-1).Draw(t, "failures")
		jitter := rapid.Float64Range(0, justBelowOne).Draw(t, "jitter")
		asked := time.Duration(rapid.Int64().Draw(t, "retryAfter"))

		least := schedule[failures]
		got, again := delivery.NextDelay(schedule, failures, 0, jitter)
		if !again || got < least || got > least+least/10 {
			t.Fatalf("got %s, want %s and at most a tenth more", got, least)
		}
		later, _ := delivery.NextDelay(schedule, failures, asked, jitter)
		if later < got || later > max(got, delivery.MaxRetryAfter) || later < min(asked, delivery.MaxRetryAfter) {
			t.Fatalf("Retry-After %s moves %s to %s", asked, got, later)
		}
	})
}

func delays() *rapid.Generator[time.Duration] {
	return rapid.Map(rapid.Int64Range(1, int64(72*time.Hour/time.Millisecond)), func(ms int64) time.Duration {
		return time.Duration(ms) * time.Millisecond
	})
}
