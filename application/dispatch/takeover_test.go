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

func (v living) Orphans(_ context.Context, from, to time.Time, limit int) (list []dispatch.Orphan, err error) {
	for _, q := range v.inOrder() {
		beat := v.beats[q.lease]
		if q.lease != "" && (beat.Before(from) || !to.IsZero() && beat.After(to)) && len(list) < limit {
			list = append(list, dispatch.Orphan{Delivery: q.Delivery, Schedule: v.lane[dispatch.LaneOf(q.Delivery)].RetrySchedule, Lease: q.lease, LeasedAt: q.leasedAt})
		}
	}
	return list, v.fail["Orphans"]
}

func (v living) CountProcesses(_ context.Context, since time.Time) (n int, err error) {
	for _, beat := range v.beats {
		if !beat.Before(since) {
			n++
		}
	}
	return n, v.fail["CountProcesses"]
}

func newTakeover(t *testing.T) (living, *dispatch.Takeover) {
	v := living{newWorld(t, 1), map[string]time.Time{}}
	return v, v.takeover(incarnation, false)
}

func (v living) takeover(incarnation string, waited bool) *dispatch.Takeover {
	return dispatch.NewTakeover(v, v, func() time.Time { return v.now }, incarnation, waited)
}

// beating lets time pass in which the processes' hearts beat.
func (v living) beating(d time.Duration, processes ...*dispatch.Takeover) {
	v.Helper()
	for end := v.now.Add(d); v.now.Before(end); v.now = v.now.Add(dispatch.HeartbeatInterval) {
		v.beat(processes...)
	}
	v.beat(processes...)
}

func (v living) beat(processes ...*dispatch.Takeover) {
	v.Helper()
	for _, p := range processes {
		if _, err := p.HeartbeatStep(v.Context()); err != nil {
			v.Fatal(err)
		}
	}
}

// takesOver is the lease that the delivery has after a step.
func (v living) takesOver(p *dispatch.Takeover, l dispatch.Leased) string {
	v.Helper()
	next, err := p.TakeOverStep(v.Context())
	if err != nil || next.Sub(v.now) > dispatch.HeartbeatInterval {
		v.Fatalf("next %s, %v", next, err)
	}
	return v.rows[l.Delivery.ID].lease
}

// A process is alone once no other has beaten for as long as it takes to be taken for dead, and not before it has looked.
func TestAProcessKnowsWhetherItIsAlone(t *testing.T) {
	v, one := newTakeover(t)
	if one.Alone() {
		t.Error("alone before it has looked")
	}
	v.beating(time.Second, one)
	if !one.Alone() {
		t.Error("not alone without others")
	}
	two := v.takeover("inc_two", false)
	v.beating(2*dispatch.HeartbeatInterval, two, one)
	if one.Alone() || two.Alone() {
		t.Error("alone beside another")
	}
	v.beating(dispatch.HeartbeatTimeout-2*dispatch.HeartbeatInterval, one)
	if one.Alone() {
		t.Error("alone, though the other may live")
	}
	v.fail["CountProcesses"] = errors.New("away")
	if _, err := one.HeartbeatStep(t.Context()); !errors.Is(err, v.fail["CountProcesses"]) || one.Alone() {
		t.Errorf("a count that failed: %v; alone: %t", err, one.Alone())
	}
	delete(v.fail, "CountProcesses")
	v.beating(3*dispatch.HeartbeatInterval, one)
	if !one.Alone() {
		t.Error("not alone though the other is silent")
	}
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
	abandoned := 0
	takeover.Abandoned = func(_ context.Context, attempts int) { abandoned += attempts }
	lane := v.subscribe("sub_1", 4)
	orphan, held := v.schedule(lane, "inc_dead"), v.schedule(lane, "inc_other")
	v.beating(dispatch.HeartbeatTimeout, takeover)
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
	if v.rows[held.Delivery.ID].lease != "inc_other" || abandoned != 1 {
		t.Errorf("took from the living, or told of %d", abandoned)
	}
	if next, err = takeover.TakeOverStep(t.Context()); err != nil || !next.After(v.now) || len(v.rows[orphan.Delivery.ID].changes) != 2 {
		t.Errorf("a second step: next %s, %v", next, err)
	}
}

// The server's clock is set back after a process has died: the living beat anew, and its last beat is in the future.
func TestWhoDiedBeforeTheClockWasSetBackIsDead(t *testing.T) {
	v, takeover := newTakeover(t)
	lane := v.subscribe("sub_1", 4)
	orphan, held := v.schedule(lane, "inc_dead"), v.schedule(lane, "inc_other")
	other := v.takeover("inc_other", false)
	v.beating(dispatch.HeartbeatTimeout, takeover, other)
	v.beats["inc_dead"] = v.now
	v.now = v.now.Add(-time.Hour)
	if got := v.takesOver(takeover, held); got != "inc_other" {
		t.Errorf("before the other could beat by the new clock it is held by %q", got)
	}
	v.beating(dispatch.HeartbeatTimeout, takeover, other)
	if got := v.takesOver(takeover, orphan); got != "" {
		t.Errorf("then the orphan is still held by %q", got)
	}
	if got := v.takesOver(takeover, held); got != "inc_other" {
		t.Errorf("what the other holds is held by %q", got)
	}
}

// A clock that is set forward between the look and the takeover makes all others seem silent.
func TestNobodyIsTakenForDeadByAClockThatWasSetDuringTheStep(t *testing.T) {
	v, _ := newTakeover(t)
	lane := v.subscribe("sub_1", 4)
	v.schedule(lane, "inc_dead")
	living := v.schedule(lane, "inc_other")
	takeover := dispatch.NewTakeover(v, clockIsSet{v, time.Hour}, func() time.Time { return v.now }, incarnation, false)
	v.beating(dispatch.HeartbeatTimeout, takeover)
	v.beats["inc_other"] = v.now
	if next, err := takeover.TakeOverStep(t.Context()); err != nil || !next.After(v.now) {
		t.Errorf("next %s, %v", next, err)
	}
	if v.rows[living.Delivery.ID].lease != "inc_other" {
		t.Error("took from the living")
	}
}

// clockIsSet sets the clock when somebody has looked for orphans.
type clockIsSet struct {
	living
	by time.Duration
}

func (c clockIsSet) Orphans(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	found, err := c.living.Orphans(ctx, from, to, limit)
	c.now = c.now.Add(c.by)
	return found, err
}

// The living's beats of then lie outside of the times that it asked for.
func TestNobodyIsTakenForDeadByALookThatTookLong(t *testing.T) {
	for what, c := range map[string]struct {
		moves time.Duration
		beats bool // its own heart, meanwhile
	}{"it stands still": {time.Minute, false}, "the look alone stands still": {time.Minute, true}, "the clock is set back": {-time.Hour, false}} {
		v, _ := newTakeover(t)
		lane := v.subscribe("sub_1", 4)
		v.schedule(lane, "inc_dead")
		living := v.schedule(lane, "inc_other")
		look := &otherTimeInLook{living: v, passes: func() { v.now = v.now.Add(c.moves) }}
		takeover := dispatch.NewTakeover(v, look, func() time.Time { return v.now }, incarnation, false)
		v.beating(dispatch.HeartbeatTimeout, takeover)
		if c.beats {
			look.passes = func() { v.beating(c.moves, takeover) }
		}
		v.beats["inc_other"] = v.now
		if _, err := takeover.TakeOverStep(t.Context()); err == nil {
			t.Errorf("%s: no error", what)
		}
		if v.rows[living.Delivery.ID].lease != "inc_other" {
			t.Errorf("%s: took from the living", what)
		}
	}
}

// otherTimeInLook is another time when the second look for orphans is made, and the living have beaten by then.
type otherTimeInLook struct {
	living
	passes func()
	looks  int
}

func (o *otherTimeInLook) Orphans(ctx context.Context, from, to time.Time, limit int) ([]dispatch.Orphan, error) {
	if o.looks++; o.looks == 2 {
		o.passes()
		o.beats["inc_other"] = o.now
	}
	return o.living.Orphans(ctx, from, to, limit)
}

// Who has just begun does not know whether the others have had the time to beat anew.
func TestWhoHasJustBegunTakesNobodyForDeadByABeatOfTheFuture(t *testing.T) {
	v, _ := newTakeover(t)
	held := v.schedule(v.subscribe("sub_1", 4), "inc_other")
	v.beats["inc_other"] = v.now
	v.now = v.now.Add(-time.Hour)
	begun := v.takeover(incarnation, false)
	if got := v.takesOver(begun, held); got != "inc_other" {
		t.Errorf("it is held by %q", got)
	}
	v.beating(dispatch.HeartbeatTimeout, begun)
	if got := v.takesOver(begun, held); got != "" {
		t.Errorf("after a silence that it has seen itself it is still held by %q", got)
	}
}

// The status of a damaged one is none that anybody knows, or one in which nothing is attempted.
func TestAnOrphanThatCannotBeAbandonedKeepsNoOther(t *testing.T) {
	for _, status := range []delivery.Status{"frozen", delivery.StatusParked} {
		t.Run(string(status), func(t *testing.T) {
			v, takeover := newTakeover(t)
			lane := v.subscribe("sub_1", 4)
			odd, orphan := v.schedule(lane, "inc_dead"), v.schedule(lane, "inc_dead")
			damaged := v.rows[odd.Delivery.ID]
			damaged.Status = status
			v.rows[odd.Delivery.ID] = damaged
			v.beating(time.Minute, takeover)
			if _, err := takeover.TakeOverStep(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := v.rows[orphan.Delivery.ID]; got.Status != delivery.StatusRetrying || got.lease != "" {
				t.Errorf("the other is %+v", got)
			}
			if got := v.rows[odd.Delivery.ID]; got.Status != status || got.lease != "" {
				t.Errorf("it is %+v", got)
			}
			if next, err := takeover.TakeOverStep(t.Context()); err != nil || !next.After(v.now) {
				t.Errorf("a second step: next %s, %v", next, err)
			}
		})
	}
}

func TestOrphansThatSomebodyElseTookAreSkipped(t *testing.T) {
	v, _ := newTakeover(t)
	lane := v.subscribe("sub_1", 4)
	lost, kept := v.schedule(lane, "inc_dead"), v.schedule(lane, "inc_dead")
	v.now = v.now.Add(time.Minute)
	// Between the look and the write the dead one's outcome arrives.
	seen := frozen{v, must(v.Orphans(t.Context(), v.now, time.Time{}, 10))}
	moved, err := dispatch.Move(lost.Delivery, []delivery.Change{delivery.AttemptSucceeded{At: v.now, Attempt: delivery.Attempt{Number: 1, Outcome: succeeded()}}})
	if err != nil {
		t.Fatal(err)
	}
	v.rows[lost.Delivery.ID] = row{Delivery: moved.After}
	takeover, abandoned := dispatch.NewTakeover(v, seen, func() time.Time { return v.now }, incarnation, false), 0
	takeover.Abandoned = func(_ context.Context, attempts int) { abandoned += attempts }
	if _, err := takeover.TakeOverStep(t.Context()); err != nil || abandoned != 1 {
		t.Fatalf("told of %d, %v", abandoned, err)
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

func (f frozen) Orphans(context.Context, time.Time, time.Time, int) ([]dispatch.Orphan, error) {
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
		v.beating(time.Minute, takeover)
		v.fail[call] = errors.New("away")
		if _, err := takeover.TakeOverStep(t.Context()); err == nil {
			t.Errorf("%s: no error", call)
		}
	}
}

// TestAfterAnOutageTheLivingKeepWhatTheyHold: when nobody could beat, the first who can takes nothing from the others.
func TestAfterAnOutageTheLivingKeepWhatTheyHold(t *testing.T) {
	outages := map[string]func(v living, a *dispatch.Takeover){
		"nobody called": func(v living, _ *dispatch.Takeover) { v.now = v.now.Add(time.Minute) },
		"a beat failed": func(v living, a *dispatch.Takeover) {
			v.fail["Heartbeat"] = errors.New("away")
			if _, err := a.HeartbeatStep(t.Context()); err == nil {
				t.Error("no error")
			}
			delete(v.fail, "Heartbeat")
		},
		"the clock was set back": func(v living, _ *dispatch.Takeover) { v.now = v.now.Add(-time.Minute) },
	}
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			v, a := newTakeover(t)
			b := v.takeover("inc_b", false)
			held := v.schedule(v.subscribe("sub_1", 4), "inc_b")
			v.beating(time.Minute, a, b)
			outage(v, a)
			v.beats["inc_b"] = v.now.Add(-time.Minute)
			if got := v.takesOver(a, held); got != "inc_b" {
				t.Errorf("before its own beat: held by %q", got)
			}
			v.beat(a)
			if got := v.takesOver(a, held); got != "inc_b" {
				t.Errorf("after its own beat: held by %q", got)
			}
			v.beating(2*time.Second, a)
			if v.beats["inc_b"] = v.now; v.takesOver(a, held) != "inc_b" {
				t.Error("taken over from one who beats again")
			}
			v.beating(dispatch.HeartbeatTimeout+dispatch.HeartbeatInterval, a)
			if got := v.takesOver(a, held); got != "" {
				t.Errorf("%s is silent and keeps it", got)
			}
		})
	}
}

func TestWhoDidNotWaitForItsDatabaseTakesOverAtOnce(t *testing.T) {
	v, a := newTakeover(t)
	held := v.schedule(v.subscribe("sub_1", 4), "inc_dead")
	waited := v.takeover("inc_waited", true)
	if v.beat(waited); v.takesOver(waited, held) != "inc_dead" {
		t.Error("one that waited took over")
	}
	if got := v.takesOver(a, held); got != "" {
		t.Errorf("it is held by %s", got)
	}
	held = v.schedule(v.subscribe("sub_2", 4), "inc_dead")
	if v.beating(dispatch.HeartbeatTimeout, waited); v.takesOver(waited, held) != "" {
		t.Error("one that waited never takes over")
	}
}
