package fanout_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/fanout"
	"github.com/ordinavo/webhooks/application/intake"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// shelf is a store of events, which says what was read of it.
type shelf struct {
	fanout.TurnStore
	events map[intake.EventKey]intake.Accepted
	read   []string
	err    error
}

func (s *shelf) Events(_ context.Context, keys []intake.EventKey) (list []intake.Accepted, err error) {
	for _, key := range keys {
		s.read = append(s.read, key.ID)
		if a, stored := s.events[key]; stored {
			list = append(list, a)
		}
	}
	return list, s.err
}

func (s *shelf) InTx(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }
func (s *shelf) Known(context.Context, []intake.EventKey) (intake.Known, error) {
	return intake.Known{Fingerprints: map[intake.EventKey][32]byte{}, Tenants: map[tenant.ID]bool{acme: true}}, nil
}
func (s *shelf) AppendEvents(_ context.Context, events []intake.Accepted) error {
	for _, a := range events {
		s.events[a.Key()] = a
	}
	return nil
}
func (s *shelf) EventsAccepted(context.Context, []event.Type, int) {}
func (s *shelf) EventsRefused(context.Context, intake.Reason, int) {}
func (s *shelf) accept(t *testing.T, ids ...string) (remembered *intake.Recent) {
	t.Helper()
	in := intake.New(intake.Config{Store: s, Observer: s, Now: time.Now, NewID: func(prefix string) string { return prefix }})
	var events []event.Event
	for _, id := range ids {
		e := event.Sample(event.TargetCompleted, acme)
		e.ID = id
		events = append(events, e)
	}
	submission, err := in.Submit(t.Context(), events, "00-1", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := submission.Answer(); err != nil {
		t.Fatal(err)
	}
	return in.Recent
}

// What is remembered is not read, and what is not keeps its place among it.
func TestWhatIsNotRememberedIsRead(t *testing.T) {
	s := &shelf{events: map[intake.EventKey]intake.Accepted{}}
	s.accept(t, "evt_2", "evt_4", "evt_5") // by another process
	store := fanout.Remember(s, s.accept(t, "evt_1", "evt_3", "evt_6"))
	load := func(ids ...string) {
		t.Helper()
		var keys []intake.EventKey
		var want []intake.Accepted
		for _, id := range ids {
			key := intake.EventKey{Tenant: acme, ID: id}
			keys = append(keys, key)
			if a, stored := s.events[key]; stored {
				want = append(want, a)
			}
		}
		s.read = nil
		got, err := store.Events(t.Context(), keys)
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			if i >= len(want) || got[i].Key() != want[i].Key() || !reflect.DeepEqual(got[i].Event, want[i].Event) || got[i].Fingerprint != want[i].Fingerprint {
				t.Errorf("%v gave %+v", ids, got)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%v gave %d events, want %d", ids, len(got), len(want))
		}
	}
	load("evt_lost", "evt_1", "evt_2", "evt_lost", "evt_4", "evt_3", "evt_5", "evt_lost")
	if want := []string{"evt_lost", "evt_2", "evt_lost", "evt_4", "evt_5", "evt_lost"}; !slices.Equal(s.read, want) {
		t.Errorf("read %v, want %v", s.read, want)
	}
	load("evt_1", "evt_3") // they are remembered once
	if want := []string{"evt_1", "evt_3"}; !slices.Equal(s.read, want) {
		t.Errorf("read %v, want %v", s.read, want)
	}
	if load("evt_6"); s.read != nil {
		t.Errorf("read %v", s.read)
	}
	s.err = errors.New("the database is away")
	if got, err := store.Events(t.Context(), []intake.EventKey{{Tenant: acme, ID: "evt_1"}}); !errors.Is(err, s.err) {
		t.Errorf("got %v, %v", got, err)
	}
}
