package metrics_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/metrics"
	"github.com/ordinavo/webhooks/domain/circuit"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// queueStore has one delivery that waits, and takes its time to count it.
type queueStore struct {
	now   time.Time
	takes time.Duration
	fail  error
	asked int
	ctx   context.Context // of who asked last
}

func (s *queueStore) QueueDepth(ctx context.Context, now time.Time) (map[delivery.Status]int, time.Time, error) {
	s.asked++
	s.ctx = ctx
	s.now = s.now.Add(s.takes)
	return map[delivery.Status]int{delivery.StatusPending: 1}, now.Add(-time.Minute), s.fail
}

func (s *queueStore) CountSetAside(context.Context) (int, error) { return 2, nil }

func (s *queueStore) OldestUnrouted(context.Context) (time.Time, error) { return time.Time{}, nil }

func (s *queueStore) WaitingFrom(context.Context) (map[tenant.ID]time.Time, error) {
	return map[tenant.ID]time.Time{"acme": s.now.Add(-time.Hour)}, nil
}

// The longer it takes to count the queue, the less often it is counted; a scrape counts one that is short.
func TestTheQueueIsReadLessOftenTheLongerItTakes(t *testing.T) {
	for takes, pause := range map[time.Duration]time.Duration{
		0: 5 * time.Second, 100 * time.Millisecond: 5 * time.Second, time.Second: 30 * time.Second, time.Minute: 5 * time.Minute,
		-time.Hour: 5 * time.Second, // a clock was set back
	} {
		store := &queueStore{now: time.Unix(1_800_000_000, 0), takes: takes}
		open := 1
		watch := metrics.NewQueueWatch(store, func() map[circuit.State]int { return map[circuit.State]int{circuit.Open: open} }, func() time.Time { return store.now })
		if _, known := watch.Last(t.Context()); known {
			t.Error("something is known before it was read")
		}
		next, err := watch.Step(t.Context())
		if err != nil || next.Sub(store.now) != pause {
			t.Errorf("it took %s: again after %s (%v), want %s", takes, next.Sub(store.now), err, pause)
		}
		open = 3
		asked := 1
		if takes < 100*time.Millisecond {
			asked = 2
		}
		queue, known := watch.Last(t.Context())
		if !known || queue.Depth[delivery.StatusPending] != 1 || queue.OldestDue != time.Minute || queue.Deferring != 1 || queue.SetAside != 2 ||
			queue.OldestUnrouted != time.Hour-takes || queue.Circuits[circuit.Open] != 3 || store.asked != asked {
			t.Errorf("%+v is known, read %d times", queue, store.asked)
		}
		if _, bounded := store.ctx.Deadline(); asked == 2 && !bounded {
			t.Error("a scrape may wait for ever")
		}
	}
}

// A read that waited for a lock would else be all that is shown for five minutes: a queue that was late then looked late, and one that was not did
// not become so.
func TestOneReadThatWaitedDoesNotPutTheNextOff(t *testing.T) {
	store := &queueStore{now: time.Unix(1_800_000_000, 0)}
	watch := metrics.NewQueueWatch(store, func() map[circuit.State]int { return nil }, func() time.Time { return store.now })
	for i, read := range []struct{ takes, pause time.Duration }{
		{time.Millisecond, 5 * time.Second}, {time.Minute, 5 * time.Second}, {time.Millisecond, 5 * time.Second},
		{time.Second, 5 * time.Second}, {time.Second, 30 * time.Second}, {time.Minute, 30 * time.Second}, {time.Minute, 5 * time.Minute},
	} {
		store.takes = read.takes
		if next, err := watch.Step(t.Context()); err != nil || next.Sub(store.now) != read.pause {
			t.Errorf("read %d: again after %s (%v), want %s", i, next.Sub(store.now), err, read.pause)
		}
	}
}

func TestWhatCannotBeReadAnyMoreIsNotShown(t *testing.T) {
	store := &queueStore{now: time.Unix(1_800_000_000, 0)}
	watch := metrics.NewQueueWatch(store, func() map[circuit.State]int { return nil }, func() time.Time { return store.now })
	if _, err := watch.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	store.fail = errors.New("the database is away")
	if _, err := watch.Step(t.Context()); !errors.Is(err, store.fail) {
		t.Errorf("got %v", err)
	}
	if queue, known := watch.Last(t.Context()); known {
		t.Errorf("%+v is shown still", queue)
	}
}
