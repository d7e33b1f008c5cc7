package catchup_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/application/catchup"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/application/queries"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/subscription"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var lane = dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_1"}

// world is a tenant's events with their deliveries, and a log of the deliveries that the hub reads.
type world struct {
	events     []queries.Event
	deliveries map[string]delivery.Delivery
	log        []live.Record
	changes    map[live.Key][]delivery.Change
	reads      int
	damaged    string // an event whose bodies cannot be read
	gone       string // one whose bodies retention has deleted
	fails      string // a method that the database is away for
}

var errAway = errors.New("the database is away")

func (w *world) call(method string) error {
	if w.fails == method {
		return errAway
	}
	return nil
}

func newWorld() (*world, *catchup.Service) {
	w := &world{deliveries: map[string]delivery.Delivery{}, changes: map[live.Key][]delivery.Change{}}
	hub := live.New(w, w, time.Now, live.Limits{PerKey: 1})
	return w, &catchup.Service{Reader: w, Subscriptions: w, Signer: w, Hub: hub, Now: time.Now, Kept: 24 * time.Hour}
}

// accept adds an event, for the subscription or for nobody.
func (w *world) accept(matches bool) (id string) {
	number := int64(1)
	if n := len(w.events); n > 0 {
		number = w.events[n-1].Sequence/10 + 1
	}
	id = fmt.Sprintf("evt_%d", number)
	w.events = append(w.events, queries.Event{ID: id, Tenant: "acme", Sequence: number * 10, AcceptedAt: time.Now()})
	if !matches {
		return id
	}
	s := delivery.Scheduled{At: time.Now(), ID: "dlv_" + id, Tenant: "acme", EventID: id, EventType: event.TargetImported, SubscriptionID: "sub_1", BodyNumber: 1}
	w.deliveries[id] = delivery.Delivery{ID: s.ID, Tenant: "acme", EventID: id, SubscriptionID: "sub_1", BodyNumber: 1}
	w.log = append(w.log, live.Record{Position: int64(len(w.log)) + 1, Tenant: "acme", DeliveryID: s.ID, Version: 1})
	w.changes[live.Key{Tenant: "acme", DeliveryID: s.ID}] = []delivery.Change{s}
	return id
}

func (w *world) EventsAfter(_ context.Context, _ tenant.ID, sequence int64, limit int) ([]queries.Event, error) {
	w.reads++
	found := slices.DeleteFunc(slices.Clone(w.events), func(e queries.Event) bool { return e.Sequence <= sequence })
	return found[:min(limit, len(found))], w.call("EventsAfter")
}

func (w *world) NewestOf(_ context.Context, _ dispatch.Lane, ids []string) (map[string]delivery.Delivery, error) {
	newest := map[string]delivery.Delivery{}
	for _, id := range ids {
		if d, ok := w.deliveries[id]; ok {
			newest[id] = d
		}
	}
	return newest, w.call("NewestOf")
}

func (w *world) EventBodies(_ context.Context, _ tenant.ID, ids []string) (map[string][]fanout.Body, error) {
	bodies := map[string][]fanout.Body{}
	for _, id := range ids {
		if id == w.damaged {
			bodies[id] = []fanout.Body{{EventID: id, Number: 1, Unreadable: errDamaged}}
			continue
		}
		if id == w.gone {
			continue
		}
		bodies[id] = []fanout.Body{{EventID: id, Number: 0, Bytes: []byte("another")}, {EventID: id, Number: 1, Bytes: []byte("body of " + id)}}
	}
	return bodies, w.call("EventBodies")
}

var errDamaged = errors.New("damaged")

func (w *world) Get(context.Context, dispatch.Lane) (subscription.Subscription, error) {
	return subscription.Subscription{ID: "sub_1", Tenant: "acme"}, w.call("Get")
}

func (w *world) Headers(_ context.Context, l dispatch.Leased, _ time.Time, _ string) (map[string]string, error) {
	return map[string]string{"signed": string(l.Body), "for": l.Subscription.ID + " " + l.Delivery.ID}, w.call("Headers")
}

func (w *world) DeliveryHead(context.Context) (int64, error) { return int64(len(w.log)), nil }
func (w *world) DeliveryRecords(_ context.Context, after int64, _ int) ([]live.Record, error) {
	return slices.Clone(w.log[after:]), nil
}
func (w *world) TenantDeliveryRecords(context.Context, tenant.ID, int64, int64) ([]live.Record, error) {
	return nil, nil
}
func (w *world) DeliveryStreams(context.Context, map[live.Key]int64) (map[live.Key][]delivery.Change, error) {
	return w.changes, nil
}
func (w *world) EndedKeys(context.Context, []string, time.Time) ([]string, error) { return nil, nil }

// Whatever the events, the limit and the moments of reading are: every event comes once, in order, with its body.
func TestPagesHaveNoGaps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, s := newWorld()
		var want, got []string
		q := catchup.Query{Lane: lane, Limit: rapid.IntRange(1, 5).Draw(t, "limit")}
		read := func() (more bool) {
			page, err := s.Read(context.Background(), q)
			if err != nil || len(page.Items) > q.Limit {
				t.Fatalf("%d items, %v", len(page.Items), err)
			}
			for _, item := range page.Items {
				got = append(got, item.EventID)
				if string(item.Body) != "body of "+item.EventID || item.Headers["signed"] != string(item.Body) || item.Headers["for"] != "sub_1 dlv_"+item.EventID {
					t.Fatalf("got %+v", item)
				}
			}
			q.After = page.Next
			return page.More
		}
		for range rapid.IntRange(0, 8).Draw(t, "rounds") {
			for range rapid.SampledFrom([]int{0, 1, 3, 700}).Draw(t, "quiet") {
				w.accept(false)
			}
			for range rapid.IntRange(0, 7).Draw(t, "matching") {
				want = append(want, w.accept(true))
			}
			read()
		}
		for read() {
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v, want %v", got, want)
		}
	})
}

// A receiver that got its page without the event would go on behind it.
func TestABodyThatCannotBeReadLeavesNoGap(t *testing.T) {
	w, s := newWorld()
	w.gone, w.damaged = w.accept(true), w.accept(true)
	if page, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5}); !errors.Is(err, errDamaged) {
		t.Errorf("got %+v, %v", page, err)
	}
	w.damaged = ""
	if page, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5}); err != nil || len(page.Items) != 1 || page.Items[0].EventID == w.gone {
		t.Errorf("got %+v, %v", page, err)
	}
}

func TestAPageReadsNoMoreThanItsBound(t *testing.T) {
	w, s := newWorld()
	for range 10_000 {
		w.accept(false)
	}
	page, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 50})
	if err != nil || !page.More || page.Next.Sequence == 0 || w.reads > 20 {
		t.Errorf("%d reads, more %v, next %+v, %v", w.reads, page.More, page.Next, err)
	}
}

func TestWhoWaitsIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		w.accept(true)
		first, _ := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5})
		answered := make(chan catchup.Page)
		began := time.Now()
		go func() {
			page, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5, After: first.Next, Wait: 20 * time.Second})
			if err != nil {
				t.Error(err)
			}
			answered <- page
		}()
		synctest.Wait()
		reads := w.reads
		<-time.After(10 * time.Second) // of fake time
		if w.reads != reads {
			t.Errorf("it read %d times while nothing came", w.reads-reads)
		}
		id := w.accept(true)
		if _, err := s.Hub.Step(t.Context()); err != nil {
			t.Fatal(err)
		}
		page := <-answered
		if len(page.Items) != 1 || page.Items[0].EventID != id || time.Since(began) != 10*time.Second {
			t.Errorf("after %s: %+v", time.Since(began), page)
		}
		if _, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5, After: page.Next, Wait: 20 * time.Second}); err != nil || time.Since(began) != 30*time.Second {
			t.Errorf("the end of the waiting: %v after %s", err, time.Since(began))
		}
	})
}

func TestACursorThatIsTooOldIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		w.accept(true)
		page, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(24 * time.Hour) // of fake time
		if page, err = s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5, After: page.Next}); err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour) // of fake time
		if page, err = s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5, After: page.Next}); err != nil {
			t.Fatal(err)
		}
		<-time.After(24*time.Hour + 1) // of fake time
		if _, err = s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5, After: page.Next}); !errors.Is(err, catchup.ErrTooOld) {
			t.Errorf("got %v", err)
		}
	})
}

// Who asks in time, and has got everything, is not sent back to the beginning since nothing has come for longer than anything is kept.
func TestACursorOutlivesItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		w.accept(true)
		q := catchup.Query{Lane: lane, Limit: 5}
		read := func() catchup.Page {
			page, err := s.Read(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			q.After = page.Next
			return page
		}
		read()
		for range 3 {
			<-time.After(10 * time.Hour) // of fake time
			read()
		}
		w.accept(false)
		w.events = w.events[1:] // retention deletes the first
		w.accept(true)
		if page := read(); len(page.Items) != 1 {
			t.Errorf("got %+v", page)
		}
	})
}

// What is parked stays whatever its age, and PostgreSQL keeps other events for up to two weeks more: who begins with them has to get on.
func TestWhatIsOlderThanEverythingIsKeptIsReadToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		want := []string{w.accept(true), w.accept(true), w.accept(true)}
		<-time.After(30 * time.Hour) // of fake time
		want = append(want, w.accept(true))
		var got []string
		q := catchup.Query{Lane: lane, Limit: 1}
		for range want {
			page, err := s.Read(t.Context(), q)
			if err != nil {
				t.Fatalf("behind %q: %v", got, err)
			}
			for _, item := range page.Items {
				got = append(got, item.EventID)
			}
			q.After = page.Next
			<-time.After(59 * time.Minute) // of fake time
		}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		page, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Hour + time.Second) // of fake time
		if _, err = s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 1, After: page.Next}); !errors.Is(err, catchup.ErrTooOld) {
			t.Errorf("a cursor among them, after an hour: %v", err)
		}
	})
}

// What is behind a cursor and was certain to be kept when it was given may be gone before the cursor is an hour old.
func TestACursorAmongWhatIsCertainToBeKeptHoldsNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		w.accept(true)
		<-time.After(10 * time.Minute) // of fake time
		w.accept(true)
		<-time.After(23*time.Hour + 20*time.Minute) // of fake time
		page, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(45 * time.Minute) // of fake time
		w.events = nil                 // retention has deleted both
		if page, err = s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 1, After: page.Next}); !errors.Is(err, catchup.ErrTooOld) {
			t.Errorf("the second was never read, and its reader is told %v: %+v", err, page)
		}
	})
}

// TestACursorOfAnotherLogIsRefused puts the log back to what it was, and lets it go on otherwise.
func TestACursorOfAnotherLogIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		w.accept(true)
		read := func(after catchup.Cursor) (catchup.Cursor, error) {
			page, err := s.Read(t.Context(), catchup.Query{Lane: lane, Limit: 5, After: after})
			return page.Next, err
		}
		kept, err := read(catchup.Cursor{})
		if err != nil {
			t.Fatal(err)
		}
		<-time.After(time.Second) // of fake time
		w.accept(true)
		ahead, err := read(kept)
		if err != nil {
			t.Fatal(err)
		}
		w.events = w.events[:1]
		if _, err := read(ahead); !errors.Is(err, catchup.ErrRestored) {
			t.Errorf("a cursor beyond the log's end gave %v", err)
		}
		<-time.After(time.Second) // of fake time
		w.accept(true)
		w.accept(true)
		if _, err := read(ahead); !errors.Is(err, catchup.ErrRestored) {
			t.Errorf("a cursor at another event gave %v", err)
		}
		if next, err := read(kept); err != nil || next.Sequence != 30 {
			t.Errorf("a cursor that the backup has gave %v, %v", next, err)
		}
	})
}

// TestACursorOutlivesARetry reads up to events that were set aside, which a retry then puts at the log's end.
func TestACursorOutlivesARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		q := catchup.Query{Lane: lane, Limit: 1}
		var got []string
		read := func() (more bool) {
			page, err := s.Read(t.Context(), q)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Items {
				got = append(got, item.EventID)
			}
			q.After = page.Next
			return page.More
		}
		aside := func(n int) (of []int) {
			for range n {
				w.accept(false)
				of = append(of, len(w.events)-1)
				w.events[len(w.events)-1].SetAside = &fanout.SetAside{}
			}
			return of
		}
		retry := func(at int) (id string) {
			accepted := w.events[at].AcceptedAt
			id = w.accept(true)
			w.events[len(w.events)-1].AcceptedAt = accepted
			w.events = slices.Delete(w.events, at, at+1)
			return id
		}
		first, between := w.accept(true), aside(2)
		for read() {
		}
		second := retry(between[1])
		for read() {
		}
		<-time.After(23 * time.Hour) // of fake time: nearly as long as everything is kept
		read()
		third := retry(between[0])
		<-time.After(2 * time.Hour) // of fake time: the event is older than that now, and the cursor is not
		read()
		for read() {
		}
		if want := []string{first, second, third}; !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		many := aside(5000)
		fourth := w.accept(true)
		read()
		fifth := retry(slices.IndexFunc(w.events, func(e queries.Event) bool { return e.Sequence == q.After.Sequence }))
		for range 5 {
			read()
		}
		if want := []string{first, second, third, fourth, fifth}; !slices.Equal(got, want) {
			t.Errorf("got %v behind %d that were set aside, want %v", got, len(many), want)
		}
	})
}

// TestACursorAtTheBeginningOutlivesARetry has nothing before thousands that are set aside.
func TestACursorAtTheBeginningOutlivesARetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newWorld()
		for range 5000 {
			w.accept(false)
			w.events[len(w.events)-1].SetAside = &fanout.SetAside{}
		}
		q := catchup.Query{Lane: lane, Limit: 1}
		page, err := s.Read(t.Context(), q)
		if err != nil || page.Next.Sequence == 0 {
			t.Fatalf("read up to %+v, %v", page.Next, err)
		}
		q.After = page.Next
		at := slices.IndexFunc(w.events, func(e queries.Event) bool { return e.Sequence == q.After.Sequence })
		retried := w.accept(true)
		w.events = slices.Delete(w.events, at, at+1)
		var got []string
		for more := true; more; more = page.More {
			if page, err = s.Read(t.Context(), q); err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Items {
				got = append(got, item.EventID)
			}
			q.After = page.Next
		}
		if !slices.Equal(got, []string{retried}) {
			t.Errorf("got %v, want %s", got, retried)
		}
		w.events = w.events[:0]
		if _, err := s.Read(t.Context(), q); !errors.Is(err, catchup.ErrRestored) {
			t.Errorf("a cursor beyond the log's end gave %v", err)
		}
	})
}
