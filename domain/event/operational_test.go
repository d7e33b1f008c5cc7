package event_test

import (
	"slices"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"pgregory.net/rapid"

	"github.com/ordinavo/webhooks/domain/event"
)

func TestOperationalTypesAreTheServicesOwn(t *testing.T) {
	if got := event.OperationalTypes(); len(got) != 4 || len(event.AllTypes()) != 23 {
		t.Errorf("the operational types are %v", got)
	}
	for _, eventType := range event.AllTypes() {
		operational := slices.Contains(event.OperationalTypes(), eventType)
		if !eventType.Known() || eventType.IsOperational() != operational || eventType.Description() == "" {
			t.Errorf("%s: operational: %t", eventType, eventType.IsOperational())
		}
		if eventType.Carries(event.BlockSubscription) != operational || operational && eventType.Carries(event.BlockTarget) {
			t.Errorf("%s carries the wrong blocks", eventType)
		}
		if operational && (eventType.HasCustomerContext() || eventType.Family() != event.FamilyOperational) {
			t.Errorf("%s is taken for a business type", eventType)
		}
	}
}

func TestEmittersMayNotSendOperationalEvents(t *testing.T) {
	for _, eventType := range event.OperationalTypes() {
		if paths := refused(event.Sample(eventType, "tenant-123"), ""); !slices.Equal(paths, []string{"eventType"}) {
			t.Errorf("%s: refused %v", eventType, paths)
		}
	}
}

func TestDerivedID(t *testing.T) {
	at := time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)
	id := event.DerivedID(at, "tenant-123", "delivery/dlv_1", "5")
	if id != event.DerivedID(at.In(time.FixedZone("CEST", 7200)), "tenant-123", "delivery/dlv_1", "5") || !event.ValidID(id) {
		t.Errorf("the ID is %s", id)
	}
	for _, other := range []string{
		event.DerivedID(at, "tenant-123", "delivery/dlv_1", "6"), event.DerivedID(at, "tenant-12", "3delivery/dlv_1", "5"),
		event.DerivedID(at.Add(time.Millisecond), "tenant-123", "delivery/dlv_1", "5"),
	} {
		if other == id {
			t.Errorf("another thing has the ID %s, too", id)
		}
	}
}

// It is a ULID as others read and write it, with the time in front.
func TestDerivedIDIsAULID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := time.UnixMilli(rapid.Int64Range(0, 1<<47).Draw(t, "milliseconds"))
		id := event.DerivedID(at, rapid.String().Draw(t, "about"))
		parsed, err := ulid.ParseStrict(id[len("evt_"):])
		if err != nil || !event.ValidID(id) || parsed.Time() != uint64(at.UnixMilli()) || "evt_"+parsed.String() != id {
			t.Fatalf("%s is %v, %v", id, parsed, err)
		}
	})
}
