package catchup_test

import (
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ordinavo/webhooks/application/catchup"
)

// A failure that passed for an empty page would move the receiver's cursor past what it never got.
func TestAReadThatFailsIsNoPage(t *testing.T) {
	w, s := newWorld()
	w.accept(true)
	first, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5})
	if err != nil {
		t.Fatal(err)
	}
	w.accept(true)
	for _, w.fails = range []string{"EventsAfter", "NewestOf", "EventBodies", "Get", "Headers"} {
		for name, after := range map[string]catchup.Cursor{"from the beginning": {}, "from a cursor": first.Next} {
			if page, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5, After: after}); !errors.Is(err, errAway) {
				t.Errorf("%s fails %s: got %+v, %v", w.fails, name, page, err)
			}
		}
	}
}

// The cursor of a page that is none is that of the beginning.
func TestAFailureWhileWaitingIsNoPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		w.accept(true)
		first, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5})
		if err != nil {
			t.Fatal(err)
		}
		began, ended := time.Now(), make(chan error)
		go func() {
			_, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5, After: first.Next, Wait: 20 * time.Second})
			ended <- err
		}()
		synctest.Wait()
		w.fails = "EventsAfter"
		w.accept(true)
		if _, err := s.Hub.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; !errors.Is(err, errAway) || time.Since(began) != 0 {
			t.Errorf("got %v after %s", err, time.Since(began))
		}
	})
}

// Nor is it left out, since that would make a gap.
func TestABodyThatCannotBeReadHoldsUpNothingBeforeIt(t *testing.T) {
	w, s := newWorld()
	w.gone = w.accept(true)
	first, second := w.accept(true), w.accept(true)
	w.damaged = w.accept(true)
	w.accept(true)
	var got []string
	q := catchup.Query{Lane: lane, Limit: 5, Wait: time.Second}
	page, err := catchup.Page{}, error(nil)
	for range 5 {
		if page, err = s.Read(t.Context(), q); err != nil {
			break
		}
		for _, item := range page.Items {
			got = append(got, item.EventID)
		}
		q.After = page.Next
	}
	if !errors.Is(err, errDamaged) || !slices.Equal(got, []string{first, second}) {
		t.Errorf("got %v and %v, want %s and %s first", got, err, first, second)
	}
}

// Waiting is for who has got everything.
func TestWhatIsThereIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		began := time.Now()
		q := catchup.Query{Lane: lane, Limit: 5, Wait: 20 * time.Second}
		id := w.accept(true)
		if page, err := s.Read(t.Context(), q); err != nil || len(page.Items) != 1 || page.Items[0].EventID != id {
			t.Errorf("got %+v, %v", page, err)
		}
		w.events = nil
		for range 10_000 {
			w.accept(false)
		}
		if page, err := s.Read(t.Context(), q); err != nil || !page.More {
			t.Errorf("of a long search got %+v, %v", page, err)
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it waited for %s", waited)
		}
	})
}

// Each that waits costs a connection and a listener.
func TestOfAKeyFewMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, s := newWorld() // whose hub allows one
		q := catchup.Query{Lane: lane, KeyID: "key_1", Limit: 5, Wait: time.Second}
		ended := make(chan error)
		go func() {
			_, err := s.Read(t.Context(), q)
			ended <- err
		}()
		synctest.Wait()
		if page, err := s.Read(t.Context(), q); err == nil {
			t.Errorf("a second one got %+v", page)
		}
		if _, err := s.Read(t.Context(), catchup.Query{Lane: lane, KeyID: "key_1", Limit: 5}); err != nil {
			t.Errorf("one that does not wait got %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A process that stops does not wait for those who wait.
func TestWhoWaitsIsAnsweredWhenTheProcessStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		began := time.Now()
		ended := make(chan error)
		go func() {
			_, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5, Wait: 20 * time.Second})
			ended <- err
		}()
		synctest.Wait()
		reads := w.reads
		s.Hub.Close()
		if err := <-ended; err != nil || time.Since(began) != 0 || w.reads > reads {
			t.Errorf("after %s and %d more reads: %v", time.Since(began), w.reads-reads, err)
		}
	})
}
