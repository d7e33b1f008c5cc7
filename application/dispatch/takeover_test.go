package dispatch_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/delivery"
)

// living is Incarnations on a world's queue.
type living struct {
	*world
	beats map[string]time.Time
}

func (v living) Heartbeat(_ context.Context, incarnation string, now time.Time) error {
	v.beats[incarnation] = now
	return v.fail["Heartbeat"]
}

func (v living) Orphans(_ context.Context, before time.Time, limit int) (list []dispatch.Orphan, err error) {
	for _, q := range v.inOrder() {
		if q.lease != "" && v.beats[q.lease].Before(before) && len(list) < limit {
			list = append(list, dispatch.Orphan{Delivery: q.Delivery, Schedule: v.lane[laneOf(q.Delivery)].RetrySchedule, Lease: q.lease, LeasedAt: q.leasedAt})
		}
	}
	return list, v.fail["Orphans"]
}

func newTakeover(t *testing.T) (living, *dispatch.Takeover) {
	v := living{newWorld(t, 1), map[string]time.Time{}}
	return v, dispatch.NewTakeover(v, v, func() time.Time { return v.now }, incarnation)
}

func TestTheHeartbeatComesOftenEnough(t *testing.T) {
	v, takeover := newTakeover(t)
	next, err := takeover.HeartbeatStep(t.Context())
	if err != nil || !v.beats[incarnation].Equal(v.now) || next.Sub(v.now) > dispatch.HeartbeatTimeout/3 || !next.After(v.now) {
		t.Errorf("beat at %s, next %s, %v", v.beats[incarnation], next, err)
	}
	v.fail["Heartbeat"] = errors.New("away")
	if _, err := takeover.HeartbeatStep(t.Context()); err == nil {
		t.Error("no error")
	}
}

func TestOrphansAreAbandonedOnce(t *testing.T) {
	v, takeover := newTakeover(t)
	lane := v.subscribe("sub_1", 4)
	orphan, held := v.schedule(lane, "inc_dead"), v.schedule(lane, "inc_other")
	v.now = v.now.Add(dispatch.HeartbeatTimeout)
	v.beats["inc_dead"], v.beats["inc_other"] = v.now.Add(-dispatch.HeartbeatTimeout-time.Millisecond), v.now.Add(-dispatch.HeartbeatTimeout)
	next, err := takeover.TakeOverStep(t.Context())
	if err != nil || !next.Equal(v.now) {
		t.Fatalf("next %s, %v", next, err)
	}
	got := v.rows[orphan.Delivery.ID]
	if got.Status != delivery.StatusRetrying || got.lease != "" || got.Attempts != 1 || !got.DueAt.Equal(v.now) || len(got.changes) != 2 {
		t.Errorf("the orphan is %+v", got)
	}
	if abandoned, ok := got.changes[1].(delivery.AttemptAbandoned); !ok || !abandoned.StartedAt.Equal(start) {
		t.Errorf("its stream is %+v", got.changes)
	}
	if v.rows[held.Delivery.ID].lease != "inc_other" {
		t.Error("took from the living")
	}
	if next, err = takeover.TakeOverStep(t.Context()); err != nil || !next.After(v.now) || len(v.rows[orphan.Delivery.ID].changes) != 2 {
		t.Errorf("a second step: next %s, %v", next, err)
	}
}

func TestAnOrphanWhoseStatusNobodyKnowsKeepsNoOther(t *testing.T) {
	v, takeover := newTakeover(t)
	lane := v.subscribe("sub_1", 4)
	odd, orphan := v.schedule(lane, "inc_dead"), v.schedule(lane, "inc_dead")
	frozen := v.rows[odd.Delivery.ID]
	frozen.Status = "frozen"
	v.rows[odd.Delivery.ID] = frozen
	v.now = v.now.Add(time.Minute)
	if _, err := takeover.TakeOverStep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := v.rows[orphan.Delivery.ID]; got.Status != delivery.StatusRetrying || got.lease != "" {
		t.Errorf("the other is %+v", got)
	}
	if got := v.rows[odd.Delivery.ID]; got.Status != "frozen" || got.lease != "" {
		t.Errorf("it is %+v", got)
	}
	if next, err := takeover.TakeOverStep(t.Context()); err != nil || !next.After(v.now) {
		t.Errorf("a second step: next %s, %v", next, err)
	}
}

func TestOrphansThatSomebodyElseTookAreSkipped(t *testing.T) {
	v, _ := newTakeover(t)
	lane := v.subscribe("sub_1", 4)
	lost, kept := v.schedule(lane, "inc_dead"), v.schedule(lane, "inc_dead")
	v.now = v.now.Add(time.Minute)
	// Between the look and the write the dead one's outcome arrives.
	seen := frozen{v, must(v.Orphans(t.Context(), v.now, 10))}
	after, err := dispatch.Apply(lost.Delivery, []delivery.Change{delivery.AttemptSucceeded{At: v.now, Attempt: delivery.Attempt{Number: 1, Outcome: succeeded()}}})
	if err != nil {
		t.Fatal(err)
	}
	v.rows[after.ID] = row{Delivery: after}
	if _, err := dispatch.NewTakeover(v, seen, func() time.Time { return v.now }, incarnation).TakeOverStep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if v.rows[lost.Delivery.ID].Status != delivery.StatusSucceeded || v.rows[kept.Delivery.ID].Status != delivery.StatusRetrying {
		t.Errorf("got %+v and %+v", v.rows[lost.Delivery.ID], v.rows[kept.Delivery.ID])
	}
}

// frozen lists what was seen earlier.
type frozen struct {
	living
	seen []dispatch.Orphan
}

func (f frozen) Orphans(context.Context, time.Time, int) ([]dispatch.Orphan, error) {
	return f.seen, nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestATakeoverThatFailsIsAnError(t *testing.T) {
	for _, call := range []string{"Orphans", "Save"} {
		v, takeover := newTakeover(t)
		v.schedule(v.subscribe("sub_1", 4), "inc_dead")
		v.now = v.now.Add(time.Minute)
		v.fail[call] = errors.New("away")
		if _, err := takeover.TakeOverStep(t.Context()); err == nil {
			t.Errorf("%s: no error", call)
		}
	}
}
