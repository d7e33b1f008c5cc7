package delivery_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/delivery"
)

func TestApplyRefusesWhatNoCommandDecides(t *testing.T) {
	in := states()
	after := func(status delivery.Status, c delivery.Change) changes {
		return append(in[status][:len(in[status]):len(in[status])], c)
	}
	spent := in[delivery.StatusDeadLetter][:2] // the failure, without the dead letter that follows it
	const pending, retry, parked, succ, deadLetter = delivery.StatusPending, delivery.StatusRetrying,
		delivery.StatusParked, delivery.StatusSucceeded, delivery.StatusDeadLetter
	for name, stream := range map[string]changes{
		"nothing before it":                    {succeeded(1, start)},
		"parked before it was scheduled":       {delivery.Parked{At: start}},
		"scheduled twice":                      after(pending, scheduled()),
		"scheduled again when closed":          after(succ, scheduled()),
		"an attempt left out":                  after(pending, succeeded(2, start)),
		"an attempt twice":                     after(retry, retrying(1, start, at(1))),
		"an abandoned attempt left out":        after(retry, delivery.AttemptAbandoned{At: start, Number: 3, NextAt: start}),
		"a success that failed":                after(pending, delivery.AttemptSucceeded{At: start, Attempt: attempt(1, failed)}),
		"a failure that succeeded":             after(pending, delivery.AttemptFailed{At: start, Attempt: attempt(1, took), NextAt: at(1)}),
		"a next attempt before this one":       after(pending, retrying(1, at(1), at(0))),
		"a next attempt after 410":             after(pending, delivery.AttemptFailed{At: start, Attempt: attempt(1, gone), NextAt: at(1)}),
		"an abandoned one due before":          after(pending, delivery.AttemptAbandoned{At: at(1), Number: 1, NextAt: start}),
		"a dead letter without a failure":      after(pending, delivery.DeadLettered{At: start}),
		"a dead letter with attempts left":     after(retry, delivery.DeadLettered{At: start}),
		"a dead letter twice":                  after(deadLetter, delivery.DeadLettered{At: start}),
		"an attempt of one parked":             after(parked, succeeded(1, start)),
		"an attempt of one closed":             after(succ, succeeded(2, start)),
		"released though not parked":           after(deadLetter, delivery.Released{At: start}),
		"retried by hand though parked":        after(parked, delivery.RetryRequested{At: start}),
		"retried by hand though due":           after(pending, delivery.RetryRequested{At: start}),
		"parked twice":                         after(parked, delivery.Parked{At: start}),
		"cancelled when closed":                after(deadLetter, delivery.Cancelled{At: start}),
		"an attempt after the last":            append(spent[:2:2], retrying(2, at(1), at(2))),
		"parked after the last":                append(spent[:2:2], delivery.Parked{At: at(1)}),
		"retried between the last and its end": append(spent[:2:2], delivery.RetryRequested{At: at(1)}),
		"nothing":                              {nil},
	} {
		t.Run(name, func(t *testing.T) {
			if d, err := delivery.Fold(stream); err == nil {
				t.Errorf("folds to %+v", d)
			}
		})
	}
}

func TestARefusedChangeLeavesTheStateAsItWas(t *testing.T) {
	d := fold(t, states()[delivery.StatusSucceeded])
	version, status, due := d.Version, d.Status, d.DueAt
	if err := d.Apply(retrying(2, at(time.Hour), at(2*time.Hour))); err == nil {
		t.Fatal("a closed delivery took a failure")
	}
	if d.Version != version || d.Status != status || d.DueAt != due || d.Attempts != 1 || d.Failures != 0 {
		t.Errorf("got %+v", d)
	}
}
