package live_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

func TestListenersHearTheirTenantsChangesInOrder(t *testing.T) {
	w := newWorld(t, live.Limits{})
	w.scheduled("acme", "dlv_0") // before anybody listens
	acme, other := w.listen("acme", live.Filter{}), w.listen("other", live.Filter{})
	done := w.listen("acme", live.Filter{Status: delivery.StatusSucceeded})
	w.scheduled("acme", "dlv_1")
	w.scheduled("other", "dlv_2")
	w.succeeded("acme", "dlv_0")
	w.succeeded("acme", "dlv_1")
	w.step()
	w.wants("acme", heard(acme), "dlv_1 pending", "dlv_0 succeeded", "dlv_1 succeeded")
	w.wants("other", heard(other), "dlv_2 pending")
	w.wants("what has succeeded", heard(done), "dlv_0 succeeded", "dlv_1 succeeded")
	w.step()
	w.wants("acme, after nothing has happened", heard(acme))
}

// What was recorded in one commit is one change: nobody ever sees a delivery between an attempt and its last end.
func TestWhatWasRecordedTogetherIsShownOnce(t *testing.T) {
	w := newWorld(t, live.Limits{})
	l, _ := w.listen("acme", live.Filter{}), w.listen("other", live.Filter{})
	died := func(id string) {
		w.now = w.now.Add(time.Second)
		failed := delivery.AttemptFailed{At: w.now, Attempt: delivery.Attempt{Number: 1, Outcome: delivery.Outcome{Kind: delivery.KindTimeout}}}
		w.record("acme", id, failed, delivery.DeadLettered{At: w.now, Reason: delivery.ReasonExhausted})
	}
	w.scheduled("acme", "dlv_1")
	died("dlv_1")
	w.step()
	w.wants("the changes", heard(l), "dlv_1 pending", "dlv_1 dead_letter")

	w.scheduled("acme", "dlv_2")
	for i := range 98 { // then the two come to be the last and the first of a hundred, which are read together
		w.scheduled("other", fmt.Sprintf("dlv_%d", 3+i))
	}
	died("dlv_2")
	w.step()
	w.wants("the changes, read apart", heard(l), "dlv_2 pending", "dlv_2 dead_letter")
}

// A stream is as long as its delivery has often been retried, and has what the receiver has answered each time.
func TestLongStreamsAreReadAFewAtATime(t *testing.T) {
	w := newWorld(t, live.Limits{})
	retried := func(id string, number int) {
		w.now = w.now.Add(time.Second)
		w.record("acme", id, delivery.AttemptSucceeded{At: w.now, Attempt: delivery.Attempt{Number: number, Outcome: delivery.Outcome{Kind: delivery.KindSucceeded}}})
		w.record("acme", id, delivery.RetryRequested{At: w.now.Add(time.Millisecond)})
	}
	var want []string
	for i := range 8 {
		id := fmt.Sprintf("dlv_%d", i)
		w.scheduled("acme", id)
		for n := range 500 {
			retried(id, n+1)
		}
		want = append(want, id+" succeeded")
	}
	l := w.listen("acme", live.Filter{Status: delivery.StatusSucceeded})
	for i := range 8 {
		retried(fmt.Sprintf("dlv_%d", i), 501)
	}
	w.step()
	w.wants("the changes", heard(l), want...)
	if most := w.most.Load(); most > 2500 {
		t.Errorf("%d changes were read at once", most)
	}
}

// A change tells how the last attempt ended, and leaves out what was sent and answered: many wait in memory for who listens.
func TestAChangeTellsHowTheLastAttemptEnded(t *testing.T) {
	w := newWorld(t, live.Limits{})
	l := w.listen("acme", live.Filter{})
	w.scheduled("acme", "dlv_1")
	w.now = w.now.Add(time.Second)
	w.record("acme", "dlv_1", delivery.AttemptFailed{At: w.now, NextAt: w.now.Add(time.Minute), Attempt: delivery.Attempt{Number: 1, Outcome: delivery.Outcome{
		Kind: delivery.KindHTTPStatus, Status: 503, RequestHeaders: map[string]string{"a": "b"}, ResponseHeaders: map[string]string{"c": "d"}, ResponseBody: []byte("busy")}}})
	w.now = w.now.Add(time.Second)
	w.record("acme", "dlv_1", delivery.Parked{At: w.now})
	w.step()
	for _, status := range []int{0, 503, 503} {
		c := <-l.Changes()
		if last := c.Last; (last == nil) != (status == 0) || last != nil && (last.Number != 1 || last.Status != status) {
			t.Errorf("as %s its last attempt is %+v, want one answered with %d", c.Status, last, status)
		} else if last != nil && (last.RequestHeaders != nil || last.ResponseHeaders != nil || last.ResponseBody != nil) {
			t.Errorf("it has all of %+v", last)
		}
	}
}

func TestNothingIsReadWhileNobodyListens(t *testing.T) {
	w := newWorld(t, live.Limits{})
	if next := w.step(); !next.IsZero() || w.reads > 0 {
		t.Errorf("it wants to be called at %s, after %d reads", next, w.reads)
	}
	l := w.listen("acme", live.Filter{})
	select {
	case <-w.hub.Loop().Wake:
	default:
		t.Error("nobody wakes the reader for the first listener")
	}
	if next := w.step(); !next.After(w.now) || next.Sub(w.now) > 100*time.Millisecond || w.reads != 1 {
		t.Errorf("it wants to be called at %s, after %d reads", next, w.reads)
	}
	l.Leave()
	l.Leave()
	if next := w.step(); !next.IsZero() || w.reads != 1 {
		t.Errorf("it wants to be called at %s, after %d reads", next, w.reads)
	}
	w.scheduled("acme", "dlv_1")
	l = w.listen("acme", live.Filter{}) // begins at the end of the log
	w.succeeded("acme", "dlv_1")
	w.step()
	w.wants("the second listener", heard(l), "dlv_1 succeeded")
}

func TestASlowListenerIsLetGoAndNobodyWaits(t *testing.T) {
	w := newWorld(t, live.Limits{})
	slow, quick := w.listen("acme", live.Filter{}), w.listen("acme", live.Filter{})
	told := 0
	for i := range 300 {
		w.scheduled("acme", fmt.Sprintf("dlv_%d", i))
		w.step()
		told += len(heard(quick))
	}
	if told != 300 {
		t.Errorf("the quick one heard of %d of 300", told)
	}
	if err := reason(slow); !errors.Is(err, live.ErrSlow) {
		t.Errorf("the slow one: %v", err)
	}
	if n := len(heard(slow)); n != 256 {
		t.Errorf("the slow one has %d changes before the gap", n)
	}
}

func TestAReplayAndWhatComesBehindIsEverything(t *testing.T) {
	w := newWorld(t, live.Limits{})
	first := w.listen("acme", live.Filter{})
	w.scheduled("acme", "dlv_1")
	w.step()
	seen := (<-first.Changes()).Mark
	first.Leave()
	w.scheduled("other", "dlv_2")
	w.succeeded("acme", "dlv_1")
	w.scheduled("acme", "dlv_3")

	again := w.listen("acme", live.Filter{})
	w.scheduled("acme", "dlv_4") // while the replay is on its way
	w.step()
	var told []string
	err := again.Replay(t.Context(), seen, func(c live.Change) error {
		told = append(told, c.ID+" "+string(c.Status))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	w.wants("what was missed", append(told, heard(again)...), "dlv_1 succeeded", "dlv_3 pending", "dlv_4 pending")
	for _, position := range []int64{-1, 1 << 60} {
		if err := again.Replay(t.Context(), live.Mark{Position: position, At: w.now}, nil); !errors.Is(err, live.ErrTooOld) {
			t.Errorf("position %d: %v", position, err)
		}
	}
	w.head += live.MaxReplay
	w.scheduled("acme", "dlv_5")
	again.Leave()
	w.step()
	late := w.listen("acme", live.Filter{})
	if err := late.Replay(t.Context(), seen, nil); !errors.Is(err, live.ErrTooOld) {
		t.Errorf("a position that is too old: %v", err)
	}
}

// Clients that come back and do not read hold up nobody who comes back and does.
func TestAReplayWaitsForNoOthersClient(t *testing.T) {
	w := newWorld(t, live.Limits{})
	first := w.listen("acme", live.Filter{})
	w.scheduled("acme", "dlv_1")
	w.step()
	seen := (<-first.Changes()).Mark
	w.succeeded("acme", "dlv_1")
	w.step()
	stuck, leave := make(chan struct{}, 10), make(chan struct{})
	var clients sync.WaitGroup
	defer clients.Wait()
	defer close(leave)
	for range 10 {
		l := w.listen("acme", live.Filter{})
		clients.Go(func() {
			_ = l.Replay(context.Background(), seen, func(live.Change) error {
				stuck <- struct{}{}
				<-leave
				return nil
			})
		})
	}
	patience := time.After(90 * time.Second)
	for n := range 10 {
		select {
		case <-stuck:
		case <-patience:
			t.Fatalf("%d of 10 are told anything", n)
		}
	}
	told := 0
	if err := w.listen("acme", live.Filter{}).Replay(t.Context(), seen, func(live.Change) error { told++; return nil }); err != nil || told != 1 {
		t.Errorf("told of %d changes, %v", told, err)
	}
}

// A replay that takes long ends when its listener is dismissed. One that is merely slow gets all of it.
func TestAReplayEndsWithItsListener(t *testing.T) {
	for name, c := range map[string]struct {
		dismiss func(w *world)
		told    int
		want    error
	}{
		"dismissed": {func(w *world) { w.hub.Close() }, 1, live.ErrClosing},
		"slow":      {func(w *world) { w.step() }, 2, nil},
	} {
		w := newWorld(t, live.Limits{})
		w.scheduled("acme", "dlv_1")
		w.head += 2000 // so that it takes more than one look
		w.scheduled("acme", "dlv_2")
		l := w.listen("acme", live.Filter{})
		for i := range 300 {
			w.scheduled("acme", fmt.Sprintf("dlv_%d", 3+i))
		}
		told := 0
		err := l.Replay(t.Context(), live.Mark{At: w.now}, func(live.Change) error { told++; c.dismiss(w); return nil })
		if told != c.told || !errors.Is(err, c.want) || errors.Is(reason(l), live.ErrSlow) != (c.want == nil) {
			t.Errorf("%s: told of %d changes, %v", name, told, err)
		}
	}
}

// Retention deletes records. Who had heard of none of them cannot be told that there were some.
func TestWhoWasAwayForLongerThanTheLogIsKeptIsTold(t *testing.T) {
	w := newWorld(t, live.Limits{Kept: time.Hour})
	first := w.listen("acme", live.Filter{})
	w.scheduled("acme", "dlv_1")
	w.step()
	change := <-first.Changes()
	w.now = w.now.Add(30 * time.Minute)
	w.step()
	beat := <-first.Changes()
	first.Leave()
	resume := func(from live.Mark) error {
		l := w.listen("acme", live.Filter{})
		defer l.Leave()
		return l.Replay(t.Context(), from, func(live.Change) error { return nil })
	}
	w.now = change.At.Add(time.Hour)
	if err := resume(change.Mark); err != nil {
		t.Errorf("all is kept: %v", err)
	}
	w.now = w.now.Add(time.Second)
	if err := resume(change.Mark); !errors.Is(err, live.ErrTooOld) {
		t.Errorf("some may be deleted: %v", err)
	}
	if err := resume(beat.Mark); err != nil || !beat.IsBeat() || beat.Position != change.Position {
		t.Errorf("the beat %+v says that nothing was missed until then: %v", beat, err)
	}
}

func TestARevokedKeyLosesItsListeners(t *testing.T) {
	for _, passes := range []time.Duration{950 * time.Millisecond, -time.Hour} { // the clock may be set back
		revokedKeyLosesItsListeners(t, passes)
	}
}

func revokedKeyLosesItsListeners(t *testing.T, after time.Duration) {
	w := newWorld(t, live.Limits{})
	l := w.listen("acme", live.Filter{})
	other, err := w.hub.Listen(t.Context(), "acme", "key_2", live.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	w.step()
	w.ended = []string{"key_1"}
	w.now = w.now.Add(after)
	w.step()
	if err := reason(l); !errors.Is(err, live.ErrRevoked) {
		t.Errorf("its listener: %v", err)
	}
	if err := reason(other); errors.Is(err, live.ErrRevoked) {
		t.Error("another key's listener was let go, too")
	}
}

// A key that was revoked is known for up to a second, and with it somebody may come who is not to stay for another one.
func TestAListenerThatComesWithARevokedKeyIsLetGoAtOnce(t *testing.T) {
	w := newWorld(t, live.Limits{})
	w.listen("acme", live.Filter{})
	w.step()
	w.ended = []string{"key_2"}
	late, err := w.hub.Listen(t.Context(), "acme", "key_2", live.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	w.step()
	if err := reason(late); !errors.Is(err, live.ErrRevoked) {
		t.Errorf("its listener: %v", err)
	}
}

// Those who wait for events come and go all the time: with each of them thousands of keys were looked at anew.
func TestWithWhoComesTheOthersKeysAreNotLookedAt(t *testing.T) {
	w := newWorld(t, live.Limits{})
	w.listen("acme", live.Filter{})
	w.step()
	w.wants("at first", w.asked, "key_1")
	for _, key := range []string{"key_2", "key_3"} {
		l, err := w.hub.Listen(t.Context(), "acme", key, live.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		if key == "key_3" {
			l.Leave()
		}
	}
	w.step()
	w.wants("with who comes", w.asked, "key_2")
	w.asked = nil
	w.step()
	w.wants("with nobody", w.asked)
	w.now = w.now.Add(950 * time.Millisecond)
	w.step()
	w.wants("later", w.asked, "key_1", "key_2")
}

func TestListenersAreBounded(t *testing.T) {
	w := newWorld(t, live.Limits{Listeners: 4, PerTenant: 3, PerKey: 2})
	first := w.listen("acme", live.Filter{})
	w.listen("acme", live.Filter{})
	_, err := w.hub.Listen(t.Context(), "acme", "key_1", live.Filter{})
	if !problem.Is(err, problem.RateLimited) {
		t.Errorf("a third of one key: %v", err)
	}
	if _, err := w.hub.Listen(t.Context(), "acme", "key_2", live.Filter{}); err != nil {
		t.Error(err)
	}
	if _, err = w.hub.Listen(t.Context(), "acme", "key_3", live.Filter{}); !problem.Is(err, problem.RateLimited) {
		t.Errorf("a fourth of one tenant, which leaves no room for others: %v", err)
	}
	if _, err := w.hub.Listen(t.Context(), "other", "key_4", live.Filter{}); err != nil {
		t.Error(err)
	}
	if _, err = w.hub.Listen(t.Context(), "other", "key_4", live.Filter{}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a fifth of the process: %v", err)
	}
	first.Leave()
	w.hub.Close()
	if _, err = w.hub.Listen(t.Context(), "acme", "key_3", live.Filter{}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("one after the end: %v", err)
	}
}

// Where a process takes few connections, others than listeners need some of them.
func TestListenersLeaveRoomForOthers(t *testing.T) {
	w := newWorld(t, live.Limits{Connections: 64})
	for i := range 16 {
		if _, err := w.hub.Listen(t.Context(), tenant.ID(fmt.Sprint("tenant-", i/4)), "key_1", live.Filter{}); err != nil {
			t.Errorf("listener %d: %v", i, err)
		}
	}
	if _, err := w.hub.Listen(t.Context(), "tenant-0", "key_2", live.Filter{}); !problem.Is(err, problem.RateLimited) {
		t.Errorf("a fifth of one tenant: %v", err)
	}
	if _, err := w.hub.Listen(t.Context(), "other", "key_3", live.Filter{}); !problem.Is(err, problem.Unavailable) {
		t.Errorf("a seventeenth: %v", err)
	}
}

// Who leaves makes room for one, and takes nothing from those who stay.
func TestWhoLeavesMakesRoom(t *testing.T) {
	w := newWorld(t, live.Limits{PerKey: 2})
	first, second := w.listen("acme", live.Filter{}), w.listen("acme", live.Filter{})
	first.Leave()
	w.listen("acme", live.Filter{})
	if _, err := w.hub.Listen(t.Context(), "acme", "key_1", live.Filter{}); !problem.Is(err, problem.RateLimited) {
		t.Errorf("a third after one has left: %v", err)
	}
	w.scheduled("acme", "dlv_1")
	w.step()
	w.wants("one that stays", heard(second), "dlv_1 pending")
}

func TestTheEndIsTold(t *testing.T) {
	w := newWorld(t, live.Limits{})
	l := w.listen("acme", live.Filter{})
	w.hub.Close()
	if err := reason(l); !errors.Is(err, live.ErrClosing) {
		t.Errorf("got %v", err)
	}
}

// What was read and cannot be shown is read by nobody else: its listeners have to resume, the others do not.
func TestAGapIsTold(t *testing.T) {
	w := newWorld(t, live.Limits{})
	l, other := w.listen("acme", live.Filter{}), w.listen("other", live.Filter{})
	w.scheduled("acme", "dlv_1")
	w.fail = errors.New("the database is away")
	if _, err := w.hub.Step(t.Context()); !errors.Is(err, w.fail) {
		t.Errorf("got %v", err)
	}
	if err := reason(l); !errors.Is(err, live.ErrInterrupted) {
		t.Errorf("its listener: %v", err)
	}
	if err := reason(other); errors.Is(err, live.ErrInterrupted) {
		t.Error("a listener that missed nothing was let go")
	}
}

// A beat says how far everything was told: a client that resumes from there misses nothing.
func TestBeatsKeepTheIDFresh(t *testing.T) {
	w := newWorld(t, live.Limits{})
	l := w.listen("acme", live.Filter{Status: delivery.StatusParked})
	w.scheduled("acme", "dlv_1")
	w.step()
	w.now = w.now.Add(15 * time.Second)
	w.scheduled("acme", "dlv_2")
	w.step()
	beat := <-l.Changes()
	if !beat.IsBeat() || beat.Position <= l.Since().Position || beat.Position >= w.head {
		t.Errorf("got %+v, with the head %d and since %d", beat, w.head, l.Since().Position)
	}
	w.step()
	w.wants("at once after it", heard(l))
	w.now = w.now.Add(-time.Hour)
	w.step()
	w.wants("when the clock was set back", heard(l), "beat")
}
