package delivery_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

func TestScheduleIsDueAtOnce(t *testing.T) {
	s := scheduled()
	want := delivery.Delivery{
		ID: s.ID, Tenant: s.Tenant, EventID: s.EventID, EventType: s.EventType,
		SubscriptionID: s.SubscriptionID, SubscriptionVersion: s.SubscriptionVersion,
		BodyNumber: s.BodyNumber, Warnings: s.Warnings,
		Status: delivery.StatusPending, Version: 1, DueAt: start, CreatedAt: start, UpdatedAt: start,
	}
	if got := fold(t, delivery.Schedule(s)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestScheduleParkedWaits(t *testing.T) {
	d := fold(t, delivery.ScheduleParked(scheduled(), "paused"))
	if d.Status != delivery.StatusParked || !d.DueAt.IsZero() || d.Version != 2 {
		t.Errorf("got %+v, want a parked delivery that is not due", d)
	}
}

func TestOutcomes(t *testing.T) {
	begun := changes{scheduled()}
	twice := changes{scheduled(), retrying(1, at(0), at(time.Minute)), retrying(2, at(time.Minute), at(time.Hour))}
	slow := failed
	slow.RetryAfter = 5 * time.Minute
	for name, c := range map[string]struct {
		given changes
		when  command
		then  changes
	}{
		"a success closes":         {begun, record(took, short, at(1)), changes{succeeded(1, at(1))}},
		"a success after failures": {twice, record(took, short, at(2)), changes{succeeded(3, at(2))}},
		"a failure is retried":     {begun, record(failed, short, at(1)), changes{retrying(1, at(1), at(1+time.Minute))}},
		"the last failure":         {twice, record(failed, short, at(2)), dead(3, at(2))},
		"a schedule that was cut":  {twice, record(failed, short[:1], at(2)), dead(3, at(2))},
		"a schedule that was lengthened": {twice, record(failed, append(short[:2:2], 2*time.Hour), at(2)),
			changes{retrying(3, at(2), at(2+2*time.Hour))}},
		"Retry-After moves it later": {begun, record(slow, short, at(0)),
			changes{delivery.AttemptFailed{At: at(0), Attempt: attempt(1, slow), NextAt: at(5 * time.Minute)}}},
		"Retry-After does not prolong the schedule": {twice, record(slow, short, at(2)), changes{
			delivery.AttemptFailed{At: at(2), Attempt: attempt(3, slow)},
			delivery.DeadLettered{At: at(2), Reason: delivery.ReasonExhausted},
		}},
		"410 ends it at once": {begun, record(gone, short, at(1)), changes{
			delivery.AttemptFailed{At: at(1), Attempt: attempt(1, gone)},
			delivery.DeadLettered{At: at(1), Reason: delivery.ReasonGone},
		}},
	} {
		t.Run(name, func(t *testing.T) { scenario(t, c.given, c.when, c.then) })
	}
}

func TestEveryKindButSuccessIsRetried(t *testing.T) {
	for _, kind := range delivery.Kinds() {
		got, err := fold(t, changes{scheduled()}).Record(delivery.Outcome{Kind: kind, Status: 418}, short, 0, start)
		if err != nil || len(got) != 1 {
			t.Fatalf("%s: got %v, %v", kind, got, err)
		}
		if _, retried := got[0].(delivery.AttemptFailed); retried == (kind == delivery.KindSucceeded) {
			t.Errorf("%s: got %T", kind, got[0])
		}
	}
}

func TestNineDelaysMakeTenAttempts(t *testing.T) {
	nine := slices.Repeat([]time.Duration{time.Hour}, 9)
	given, now := changes{scheduled()}, start
	for number := 1; number <= 10; number++ {
		d := fold(t, given)
		if d.Attempts != number-1 || d.Status.IsTerminal() || !d.DueAt.Equal(now) {
			t.Fatalf("before attempt %d: %+v, want it due at %s", number, d, now)
		}
		decided, err := d.Record(failed, nine, 0, now)
		if err != nil {
			t.Fatal(err)
		}
		given = append(given, decided...)
		now = fold(t, given).DueAt
	}
	if d := fold(t, given); d.Status != delivery.StatusDeadLetter || d.Attempts != 10 || !d.DueAt.IsZero() {
		t.Errorf("got %+v, want a dead letter after ten attempts", d)
	}
}

func TestAManualRetryStartsTheScheduleAnew(t *testing.T) {
	given := append(states()[delivery.StatusDeadLetter], delivery.RetryRequested{At: at(time.Hour)})
	d := fold(t, given)
	if d.Status != delivery.StatusPending || !d.DueAt.Equal(at(time.Hour)) || d.Failures != 0 || d.Attempts != 1 {
		t.Errorf("got %+v, want it pending and due when it was asked for, the attempts still counted", d)
	}
	scenario(t, given, record(failed, short, at(time.Hour)), changes{retrying(2, at(time.Hour), at(time.Hour+time.Minute))})
}

// Whoever looks at a delivery reads all of its attempts.
func TestADeliveryIsNotRetriedForEver(t *testing.T) {
	given := changes{scheduled(), succeeded(1, at(0))}
	for number := 2; number <= delivery.MaxAttempts; number++ {
		scenario(t, given, requestRetry(at(time.Hour)), changes{delivery.RetryRequested{At: at(time.Hour)}})
		given = append(given, delivery.RetryRequested{At: at(time.Hour)}, succeeded(number, at(time.Hour)))
	}
	scenario(t, given, requestRetry(at(time.Hour)), nil)
}

func TestAnAbandonedAttempt(t *testing.T) {
	lost := func(number int, now, next time.Time) delivery.Change {
		return delivery.AttemptAbandoned{At: now, Number: number, StartedAt: start, NextAt: next}
	}
	once := changes{scheduled(), lost(1, at(1), at(1))}
	twice := append(once[:2:2], lost(2, at(2), at(2+time.Minute)))
	often := append(twice[:3:3], lost(3, at(3), at(3+time.Hour)))
	answered := append(twice[:3:3], retrying(3, at(4), at(4+time.Minute)))
	for name, c := range map[string]struct {
		given changes
		when  command
		then  changes
	}{
		"is due again at once the first time": {once[:1], abandon(short, start, at(1)), once[1:]},
		"waits as after a failure then":       {once, abandon(short, start, at(2)), twice[2:]},
		"and longer each time":                {twice, abandon(short, start, at(3)), often[3:]},
		"but no longer than the last delay":   {often, abandon(short, start, at(4)), changes{lost(4, at(4), at(4+time.Hour))}},
		"is no failure of the receiver's":     {often, record(failed, short, at(5)), changes{retrying(4, at(5), at(5+time.Minute))}},
		"is forgotten once one is answered":   {answered, abandon(short, start, at(6)), changes{lost(4, at(6), at(6))}},
		"needs no schedule":                   {once, abandon(nil, start, at(2)), changes{lost(2, at(2), at(2))}},
	} {
		t.Run(name, func(t *testing.T) { scenario(t, c.given, c.when, c.then) })
	}
	if d := fold(t, twice); d.Status != delivery.StatusRetrying || !d.DueAt.Equal(at(2+time.Minute)) || !d.UpdatedAt.Equal(at(2)) {
		t.Errorf("got %+v, want it due a minute after it was given up", d)
	}
}

func TestAnAnswerEndsTheRowOfAbandonedAttempts(t *testing.T) {
	for name, answer := range map[string]delivery.Change{"a success": succeeded(2, at(2)), "a failure": retrying(2, at(2), at(3))} {
		d := fold(t, changes{scheduled(), delivery.AttemptAbandoned{At: at(1), Number: 1, StartedAt: start, NextAt: at(1)}, answer})
		if d.Abandonments != 0 || d.Attempts != 2 {
			t.Errorf("%s: %d abandonments, %d attempts", name, d.Abandonments, d.Attempts)
		}
	}
}

func TestAnAbandonedAttemptIsShownAsUnknown(t *testing.T) {
	got := delivery.AttemptAbandoned{At: at(5), Number: 3, StartedAt: at(1), NextAt: at(5)}.Unknown()
	if got.Number != 3 || got.Kind != delivery.KindLeaseExpired || !got.StartedAt.Equal(at(1)) || got.Error == "" || got.Succeeded() {
		t.Errorf("got %+v", got)
	}
}

func TestAReleasedDeliveryKeepsItsPlaceInTheLane(t *testing.T) {
	d := fold(t, append(states()[delivery.StatusRetrying],
		delivery.Parked{At: at(time.Second), Reason: "paused"}, delivery.Released{At: at(time.Hour)}))
	if d.Status != delivery.StatusPending || !d.DueAt.Equal(d.CreatedAt) || d.Failures != 1 {
		t.Errorf("got %+v, want it due since it was scheduled and its failures kept", d)
	}
}

// TestAReleasedDeliveryIsDueAtOnce even if a clock that was ahead had made it in what is the future again.
func TestAReleasedDeliveryIsDueAtOnce(t *testing.T) {
	setBack := at(-time.Hour)
	d := fold(t, changes{scheduled(), delivery.Parked{At: at(time.Second), Reason: "paused"}, delivery.Released{At: setBack}})
	if d.Status != delivery.StatusPending || !d.DueAt.Equal(setBack) {
		t.Errorf("got %+v, want it due when it was released", d)
	}
}

// TestCommandsInEveryStatus is the whole table: what is not listed is refused with a conflict.
func TestCommandsInEveryStatus(t *testing.T) {
	now := at(time.Hour)
	const pending, retry, parked, succ, dead, cancelled = delivery.StatusPending, delivery.StatusRetrying,
		delivery.StatusParked, delivery.StatusSucceeded, delivery.StatusDeadLetter, delivery.StatusCancelled
	for name, c := range map[string]struct {
		when command
		to   map[delivery.Status]delivery.Status
	}{
		"a success": {record(took, short, now), map[delivery.Status]delivery.Status{pending: succ, retry: succ}},
		"a failure": {record(failed, short, now), map[delivery.Status]delivery.Status{pending: retry, retry: retry}},
		"the last":  {record(failed, nil, now), map[delivery.Status]delivery.Status{pending: dead, retry: dead}},
		"410":       {record(gone, short, now), map[delivery.Status]delivery.Status{pending: dead, retry: dead}},
		"abandon":   {abandon(short, start, now), map[delivery.Status]delivery.Status{pending: retry, retry: retry}},
		"park":      {park(now), map[delivery.Status]delivery.Status{pending: parked, retry: parked}},
		"release":   {release(now), map[delivery.Status]delivery.Status{parked: pending}},
		"retry":     {requestRetry(now), map[delivery.Status]delivery.Status{retry: pending, succ: pending, dead: pending, cancelled: pending}},
		"cancel":    {cancel(now), map[delivery.Status]delivery.Status{pending: cancelled, retry: cancelled, parked: cancelled}},
	} {
		for from, given := range states() {
			to, legal := c.to[from]
			if !legal {
				t.Run(name+" refused when "+string(from), func(t *testing.T) { scenario(t, given, c.when, nil) })
				continue
			}
			decided, err := c.when(fold(t, given))
			if err != nil {
				t.Errorf("%s when %s: %v", name, from, err)
				continue
			}
			if got := fold(t, append(given[:len(given):len(given)], decided...)); got.Status != to {
				t.Errorf("%s when %s leads to %s, want %s", name, from, got.Status, to)
			}
		}
	}
}

// A dispatcher may have read the delivery while its own lease was on it.
func TestAnAttemptOfALeasedDeliveryIsRecorded(t *testing.T) {
	for name, when := range map[string]command{"record": record(failed, short, start), "abandon": abandon(short, start, start)} {
		d := fold(t, changes{scheduled()})
		d.Status = delivery.StatusDelivering
		if _, err := when(d); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	d := fold(t, changes{scheduled()})
	d.Status = delivery.StatusDelivering
	for name, when := range map[string]command{"park": park(start), "release": release(start), "retry": requestRetry(start)} {
		if got, err := when(d); err == nil {
			t.Errorf("%s: got %v, want a refusal while an attempt is under way", name, got)
		}
	}
}

// A retry by hand begins anew, also with attempts whose end nobody knows.
func TestAManualRetryForgetsAbandonedAttempts(t *testing.T) {
	lost := delivery.AttemptAbandoned{At: at(1), Number: 1, StartedAt: start, NextAt: at(1)}
	given := changes{scheduled(), lost, delivery.RetryRequested{At: at(2)}}
	scenario(t, given, abandon(short, at(2), at(3)), changes{delivery.AttemptAbandoned{At: at(3), Number: 2, StartedAt: at(2), NextAt: at(3)}})
}

// Whoever answers, though with a no, is there.
func TestWhatIsAnAnswer(t *testing.T) {
	for _, kind := range delivery.Kinds() {
		want := kind == delivery.KindSucceeded || kind == delivery.KindHTTPStatus || kind == delivery.KindRedirect
		if got := (delivery.Outcome{Kind: kind}).Answered(); got != want {
			t.Errorf("%s is an answer: %t", kind, got)
		}
	}
}
