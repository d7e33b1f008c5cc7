package reconciliation_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/reconciliation"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var now = time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)

// memory answers with what it is told, and notes what it is asked.
type memory struct {
	since, until time.Time
	size         int
	hour         reconciliation.Hour
	open         int
	due          []time.Time
	ended        []bool
	next         time.Time
}

func (m *memory) DeliveriesWithin(_ context.Context, _ tenant.ID, since, until time.Time) (int, error) {
	m.since, m.until = since, until
	return m.size, nil
}

func (m *memory) Hours(_ context.Context, _ tenant.ID, since, _ time.Time) ([]reconciliation.Hour, error) {
	h := m.hour
	h.Begins = since
	return []reconciliation.Hour{h}, nil
}

func (m *memory) Unsettled(_ context.Context, _ tenant.ID, _, _ time.Time, limit int) ([]delivery.Delivery, error) {
	return make([]delivery.Delivery, min(m.open, limit)), nil
}

func (m *memory) NextCheck(context.Context, time.Time, time.Time) (c reconciliation.Checked, found bool, err error) {
	if len(m.due) == 0 {
		return c, false, nil
	}
	c = reconciliation.Checked{Tenant: "acme", Begins: m.due[0]}
	m.due = m.due[1:]
	return c, true, nil
}

func (m *memory) EndCheck(_ context.Context, _ reconciliation.Checked, unbalanced bool, _, next time.Time) error {
	m.ended, m.next = append(m.ended, unbalanced), next
	return nil
}

func TestThePeriodIsWholeHoursOfWhatIsKept(t *testing.T) {
	at := func(hours float64) time.Time { return now.Add(time.Duration(hours * float64(time.Hour))) }
	whole := func(hours int) time.Time { return now.Truncate(time.Hour).Add(time.Duration(hours) * time.Hour) }
	for name, c := range map[string]struct{ since, until, wantSince, wantUntil time.Time }{
		"nothing given":            {time.Time{}, time.Time{}, whole(-24), whole(1)},
		"since alone":              {at(-2), time.Time{}, whole(-2), whole(1)},
		"both":                     {at(-5), at(-3), whole(-5), whole(-2)},
		"whole hours":              {whole(-5), whole(-3), whole(-5), whole(-3)},
		"until to come":            {at(-1), at(99), whole(-1), whole(1)},
		"since later in this hour": {at(0.1), time.Time{}, whole(0), whole(1)},
		"the wrong way round":      {at(-1), at(-3), whole(-1), whole(0)},
		"before what is kept":      {at(-100), at(-1), whole(-47), whole(0)},
		"all before what is kept":  {at(-100), at(-90), whole(-47), whole(-47)},
	} {
		m := &memory{}
		s := reconciliation.Service{Reader: m, Now: func() time.Time { return now }, Kept: 48 * time.Hour}
		got, err := s.Report(t.Context(), "acme", c.since, c.until)
		if err != nil || !got.Since.Equal(c.wantSince) || !got.Until.Equal(c.wantUntil) || !m.since.Equal(got.Since) || !m.until.Equal(got.Until) {
			t.Errorf("%s: %s to %s (%v), want %s to %s", name, got.Since, got.Until, err, c.wantSince, c.wantUntil)
		}
	}
}

func TestAReportIsBounded(t *testing.T) {
	m := &memory{open: reconciliation.MaxUnsettled + 1}
	s := reconciliation.Service{Reader: m, Now: func() time.Time { return now }, Kept: 90 * 24 * time.Hour}
	if got, err := s.Report(t.Context(), "acme", time.Time{}, time.Time{}); err != nil || len(got.Unsettled) != reconciliation.MaxUnsettled || !got.More {
		t.Errorf("%d unsettled, more: %t, %v", len(got.Unsettled), got.More, err)
	}
	refused := func(what string, err error) {
		if p, ok := errors.AsType[*problem.Error](err); !ok || len(p.Fields["since"]) != 1 {
			t.Errorf("%s: got %v, want a problem of since", what, err)
		}
	}
	_, err := s.Report(t.Context(), "acme", now.Add(-32*24*time.Hour), now)
	refused("more than 31 days", err)
	for _, since := range []time.Time{now.Truncate(time.Hour).Add(time.Hour), time.Date(9999, 12, 31, 23, 30, 0, 0, time.UTC)} {
		_, err = s.Report(t.Context(), "acme", since, time.Time{})
		refused("an hour to come", err)
	}
	m.size = reconciliation.MaxDeliveries + 1
	_, err = s.Report(t.Context(), "acme", time.Time{}, time.Time{})
	refused("more than can be counted", err)
	if _, err := s.Report(t.Context(), "acme", now.Truncate(time.Hour), now); err != nil {
		t.Errorf("of one hour, which nobody can ask for less than: %v", err)
	}
}

// sound is an hour of two events: one delivery, one gated, and two that did not match.
func sound() reconciliation.Hour {
	return reconciliation.Hour{
		Counted: reconciliation.Counted{Events: 2, Expected: 4, Deliveries: 1, NotMatched: 2, FeatureGated: 1},
		There:   reconciliation.There{Events: 2, Deliveries: map[delivery.Status]int{delivery.StatusParked: 1}, FeatureGated: 1},
	}
}

func TestWhatIsMissingIsSaid(t *testing.T) {
	for want, change := range map[string]func(h *reconciliation.Hour){
		"":                        func(*reconciliation.Hour) {},
		"missing deliveries: 1":   func(h *reconciliation.Hour) { clear(h.There.Deliveries) },
		"surplus deliveries: 1":   func(h *reconciliation.Hour) { h.There.Deliveries[delivery.StatusSucceeded]++ },
		"missing events: 2":       func(h *reconciliation.Hour) { h.There.Events = 0 },
		"missing gated events: 1": func(h *reconciliation.Hour) { h.There.FeatureGated = 0 },
		"missing dispositions: 1": func(h *reconciliation.Hour) { h.Counted.NotMatched-- },
		"surplus events: 1; missing deliveries: 1": func(h *reconciliation.Hour) { h.There.Events++; clear(h.There.Deliveries) },
	} {
		h := sound()
		change(&h)
		if got := h.Missing().String(); got != want || h.Balanced() != (want == "") {
			t.Errorf("got %q, balanced %t, want %q", got, h.Balanced(), want)
		}
	}
}

// The hours that are due are checked one by one, a recent one soon again; what does not balance is reported and noted.
func TestChecks(t *testing.T) {
	var reported []string
	m := &memory{hour: sound(), due: []time.Time{now.Truncate(time.Hour), now.Add(-30 * time.Hour)}}
	checker := reconciliation.NewChecker(m, func() time.Time { return now }, func(_ context.Context, _ reconciliation.Checked, missing reconciliation.Missing) {
		reported = append(reported, missing.String())
	})
	step := func(want time.Time) {
		t.Helper()
		if next, err := checker.Step(t.Context()); err != nil || !next.Equal(want) {
			t.Errorf("the next step is at %s (%v), want %s", next, err, want)
		}
	}
	step(now)
	if m.ended[0] || m.next != now.Add(5*time.Minute) || reported != nil {
		t.Errorf("a recent hour that balances: %v, next %s, reported %q", m.ended, m.next, reported)
	}
	m.hour.There.Events = 1
	step(now)
	if !m.ended[1] || m.next != now.Add(24*time.Hour) || len(reported) != 1 || reported[0] != "missing events: 1" {
		t.Errorf("an old hour that does not balance: %v, next %s, reported %q", m.ended, m.next, reported)
	}
	step(now.Add(30 * time.Second))
	for _, age := range []time.Duration{8, 70} {
		m.due = append(m.due, now.Add(-age*24*time.Hour))
		step(now)
		if m.next != now.Add(24*time.Hour) {
			t.Errorf("an hour of %d days that does not balance is checked again at %s", age, m.next)
		}
	}
	m.hour = sound()
	for age, want := range map[time.Duration]time.Duration{6: 24, 7: 24, 14: 48, 70: 240} {
		m.due = append(m.due, now.Add(-age*24*time.Hour))
		step(now)
		if m.next != now.Add(want*time.Hour) {
			t.Errorf("an hour of %d days is checked again at %s", age, m.next)
		}
	}
}

// A check leaves the database to others for three times as long as it took, however the clock is set meanwhile.
func TestAfterACheckItRests(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{20 * time.Millisecond: 80 * time.Millisecond, -time.Hour: -time.Hour, time.Hour: time.Hour + 90*time.Second} {
		m := &memory{hour: sound(), due: []time.Time{now}}
		asked := 0
		checker := reconciliation.NewChecker(m, func() time.Time { asked++; return now.Add(time.Duration(min(asked-1, 1)) * took) }, nil)
		if next, err := checker.Step(t.Context()); err != nil || !next.Equal(now.Add(want)) {
			t.Errorf("a check of %s: the next is at %s, %v", took, next, err)
		}
	}
}
