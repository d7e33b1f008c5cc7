package subscription_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/subscription"
)

// invalid is what Validate finds, by path.
func invalid(s subscription.Settings, ownSchedule bool) map[string][]string {
	fields := problem.Collect("")
	s.Validate(fields, ownSchedule)
	var refusal *problem.Error
	if errors.As(fields.Err(), &refusal) {
		return refusal.Fields
	}
	return nil
}

func paths(found map[string][]string) []string { return slices.Sorted(maps.Keys(found)) }

func schedule(length int, delay time.Duration) []time.Duration {
	return slices.Repeat([]time.Duration{delay}, length)
}

func TestSettingsWithinTheBounds(t *testing.T) {
	for name, change := range map[string]func(*subscription.Settings){
		"as they are":          func(*subscription.Settings) {},
		"the longest name":     func(s *subscription.Settings) { s.Name = strings.Repeat("ü", 200) },
		"the longest URL":      func(s *subscription.Settings) { s.URL = strings.Repeat("u", 2048) },
		"no source system":     func(s *subscription.Settings) { s.SourceSystem = "" },
		"the shortest timeout": func(s *subscription.Settings) { s.Timeout = time.Second },
		"the longest timeout":  func(s *subscription.Settings) { s.Timeout = 30 * time.Second },
		"one in flight":        func(s *subscription.Settings) { s.MaxInFlight = 1 },
		"many in flight":       func(s *subscription.Settings) { s.MaxInFlight = 256 },
		"one short delay":      func(s *subscription.Settings) { s.RetrySchedule = schedule(1, time.Second) },
		"twenty long delays":   func(s *subscription.Settings) { s.RetrySchedule = schedule(20, 72*time.Hour) },
	} {
		s := settings()
		change(&s)
		if found := invalid(s, true); found != nil {
			t.Errorf("%s: refused for %v", name, found)
		}
	}
}

func TestSettingsOutOfBounds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*subscription.Settings)
		paths  []string
	}{
		"no name":                  {func(s *subscription.Settings) { s.Name = "" }, []string{"name"}},
		"a name too long":          {func(s *subscription.Settings) { s.Name = strings.Repeat("ü", 201) }, []string{"name"}},
		"a name on two lines":      {func(s *subscription.Settings) { s.Name = "a\nb" }, []string{"name"}},
		"a NUL in the name":        {func(s *subscription.Settings) { s.Name = "a\x00" }, []string{"name"}},
		"a name not in UTF-8":      {func(s *subscription.Settings) { s.Name = "\xff" }, []string{"name"}},
		"no URL":                   {func(s *subscription.Settings) { s.URL = "" }, []string{"url"}},
		"a URL too long":           {func(s *subscription.Settings) { s.URL = strings.Repeat("u", 2049) }, []string{"url"}},
		"a source system too long": {func(s *subscription.Settings) { s.SourceSystem = strings.Repeat("s", 65) }, []string{"sourceSystem"}},
		"a tab in it":              {func(s *subscription.Settings) { s.SourceSystem = "s\tp" }, []string{"sourceSystem"}},
		"no timeout":               {func(s *subscription.Settings) { s.Timeout = 0 }, []string{"timeoutSeconds"}},
		"a timeout too short":      {func(s *subscription.Settings) { s.Timeout = time.Second - 1 }, []string{"timeoutSeconds"}},
		"a timeout too long":       {func(s *subscription.Settings) { s.Timeout = 30*time.Second + 1 }, []string{"timeoutSeconds"}},
		"none in flight":           {func(s *subscription.Settings) { s.MaxInFlight = 0 }, []string{"maxInFlight"}},
		"too many in flight":       {func(s *subscription.Settings) { s.MaxInFlight = 257 }, []string{"maxInFlight"}},
		"no delays":                {func(s *subscription.Settings) { s.RetrySchedule = nil }, []string{"retrySchedule"}},
		"too many delays":          {func(s *subscription.Settings) { s.RetrySchedule = schedule(21, time.Second) }, []string{"retrySchedule"}},
		"delays out of bounds": {func(s *subscription.Settings) {
			s.RetrySchedule = []time.Duration{time.Second - 1, time.Minute, 72*time.Hour + 1}
		}, []string{"retrySchedule[0]", "retrySchedule[2]"}},
		"all at once": {func(s *subscription.Settings) { *s = subscription.Settings{} },
			[]string{"eventTypes", "maxInFlight", "name", "retrySchedule", "timeoutSeconds", "url"}},
	} {
		s := settings()
		c.change(&s)
		if got := paths(invalid(s, true)); !slices.Equal(got, c.paths) {
			t.Errorf("%s: refused %v, want %v", name, got, c.paths)
		}
	}
}

// A service may shorten its default schedule below what an admin may ask for (contract, section 6).
func TestTheServicesOwnScheduleIsNotBound(t *testing.T) {
	s := settings()
	s.RetrySchedule = schedule(3, 50*time.Millisecond)
	if found := invalid(s, false); found != nil {
		t.Errorf("refused for %v", found)
	}
	if found := invalid(s, true); len(found) != 3 {
		t.Errorf("as an admin's own it is refused for %v, want all three delays", found)
	}
}
