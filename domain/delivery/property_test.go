package delivery_test

import (
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/delivery"
)

// life is a delivery that random commands are given to, with a second count of what matters.
type life struct {
	state    delivery.Delivery
	stream   changes
	now      time.Time
	schedule []time.Duration
	// answered counts the attempts with an outcome since the delivery began or was retried by hand.
	answered int
	counted  int
}

func (l *life) command(t *rapid.T) (decided changes, name string) {
	jitter := rapid.Float64Range(0, justBelowOne).Draw(t, "jitter")
	name = rapid.SampledFrom([]string{"record", "record", "record", "abandon", "park", "release", "retry", "cancel"}).Draw(t, "command")
	var err error
	switch name {
	case "record":
		decided, err = l.state.Record(outcomes().Draw(t, "outcome"), l.schedule, jitter, l.now)
	case "abandon":
		decided, err = l.state.Abandon(l.schedule, l.now, l.now)
	case "park":
		decided, err = l.state.Park("paused", l.now)
	case "release":
		decided, err = l.state.Release(l.now)
	case "retry":
		decided, err = l.state.RequestRetry(l.now)
	case "cancel":
		decided, err = l.state.Cancel("deleted", l.now)
	}
	if (err == nil) != (len(decided) > 0) {
		t.Fatalf("%s when %s decided %v with error %v", name, l.state.Status, decided, err)
	}
	return decided, name
}

func (l *life) apply(t *rapid.T, decided changes, name string) {
	for _, c := range decided {
		if err := l.state.Apply(c); err != nil {
			t.Fatalf("%s was decided and then refused: %v", name, err)
		}
		l.stream = append(l.stream, c)
		folded, err := delivery.Fold(l.stream)
		if err != nil || !reflect.DeepEqual(folded, l.state) {
			t.Fatalf("folded %+v (%v)\nis     %+v", folded, err, l.state)
		}
	}
	switch {
	case len(decided) == 0:
	case name == "record":
		l.answered++
		l.counted++
	case name == "abandon":
		l.counted++
	case name == "retry":
		l.answered = 0
	}
}

func (l *life) check(t *rapid.T, before delivery.Delivery, decided changes, name string) {
	d := l.state
	waits := d.Status == delivery.StatusPending || d.Status == delivery.StatusRetrying
	switch {
	case d.Version != int64(len(l.stream)):
		t.Fatalf("version %d after %d changes", d.Version, len(l.stream))
	case d.Attempts != l.counted:
		t.Fatalf("%d attempts are counted, %d were made", d.Attempts, l.counted)
	case l.answered > len(l.schedule)+1:
		t.Fatalf("%d attempts in a run of %d delays", l.answered, len(l.schedule))
	case before.Status.IsTerminal() && len(decided) > 0 && name != "retry":
		t.Fatalf("%s took %s", before.Status, name)
	case waits == d.DueAt.IsZero():
		t.Fatalf("%s and due at %s", d.Status, d.DueAt)
	case (name == "record" || name == "abandon") && len(decided) > 0 && waits && d.DueAt.Before(l.now):
		t.Fatalf("a failure at %s is due again at %s", l.now, d.DueAt)
	case len(decided) > 0 && before.Status != d.Status && !before.Status.MayBecome(d.Status):
		t.Fatalf("%s became %s, which the table forbids", before.Status, d.Status)
	}
}

func TestAnySequenceOfCommands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &life{now: start, schedule: rapid.SliceOfN(delays(), 1, 5).Draw(t, "schedule")}
		l.apply(t, delivery.Schedule(scheduled()), "schedule")
		for range rapid.IntRange(1, 40).Draw(t, "length") {
			l.now = l.now.Add(delays().Draw(t, "wait"))
			before := l.state
			decided, name := l.command(t)
			l.apply(t, decided, name)
			l.check(t, before, decided, name)
		}
	})
}

// However a receiver fails, and whatever it asks for, a run ends.
func TestFailuresAloneEndInADeadLetter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		schedule := rapid.SliceOfN(delays(), 0, 20).Draw(t, "schedule")
		d, err := delivery.Fold(delivery.Schedule(scheduled()))
		for made := 0; err == nil && !d.Status.IsTerminal(); made++ {
			var decided changes
			decided, err = d.Record(failed, schedule, 0, d.DueAt)
			for _, c := range decided {
				err = d.Apply(c)
			}
			if made > len(schedule) {
				t.Fatalf("attempt %d of a schedule of %d delays", made+1, len(schedule))
			}
		}
		if err != nil || d.Status != delivery.StatusDeadLetter || d.Attempts != len(schedule)+1 {
			t.Fatalf("got %+v, %v; want a dead letter after %d attempts", d, err, len(schedule)+1)
		}
	})
}

// Whatever random changes are thrown at it, Apply keeps the invariants or refuses.
func TestApplyNeverLeadsAstray(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d delivery.Delivery
		for range rapid.IntRange(1, 30).Draw(t, "length") {
			before := d
			c := anyChange(d).Draw(t, "change")
			if err := d.Apply(c); err != nil {
				if !reflect.DeepEqual(d, before) {
					t.Fatalf("refused %+v, but %+v became %+v", c, before, d)
				}
				continue
			}
			if d.Version != before.Version+1 || d.Attempts < before.Attempts || d.Attempts > before.Attempts+1 {
				t.Fatalf("%+v took %+v and became %+v", before, c, d)
			}
			if _, retry := c.(delivery.RetryRequested); before.Status.IsTerminal() && !retry {
				t.Fatalf("%s took %T", before.Status, c)
			}
		}
	})
}

func outcomes() *rapid.Generator[delivery.Outcome] {
	return rapid.Custom(func(t *rapid.T) delivery.Outcome {
		return delivery.Outcome{
			Kind:       rapid.SampledFrom(delivery.Kinds()).Draw(t, "kind"),
			Status:     rapid.SampledFrom([]int{0, 200, 301, 410, 429, 500}).Draw(t, "status"),
			RetryAfter: time.Duration(rapid.Int64().Draw(t, "retryAfter")),
		}
	})
}

// anyChange is one that may or may not follow: its number and times are near the right ones.
func anyChange(d delivery.Delivery) *rapid.Generator[delivery.Change] {
	return rapid.Custom(func(t *rapid.T) delivery.Change {
		now := at(delays().Draw(t, "now"))
		next := rapid.SampledFrom([]time.Time{{}, now, now.Add(time.Minute), now.Add(-time.Minute)}).Draw(t, "next")
		number := d.Attempts + rapid.SampledFrom([]int{1, 1, 1, 0, 2}).Draw(t, "number")
		o := outcomes().Draw(t, "outcome")
		return rapid.SampledFrom([]delivery.Change{
			scheduled(),
			delivery.AttemptSucceeded{At: now, Attempt: attempt(number, o)},
			delivery.AttemptFailed{At: now, Attempt: attempt(number, o), NextAt: next},
			delivery.AttemptAbandoned{At: now, Number: number, StartedAt: now, NextAt: next},
			delivery.Parked{At: now}, delivery.Released{At: now}, delivery.DeadLettered{At: now},
			delivery.RetryRequested{At: now}, delivery.Cancelled{At: now},
		}).Draw(t, "kind of change")
	})
}
