package live_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/event"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// world is a log in memory, with a hub that is stepped by hand.
type world struct {
	*testing.T
	hub     *live.Hub
	now     time.Time
	records []live.Record
	head    int64
	streams map[live.Key][]delivery.Change
	ended   []string
	asked   []string // the keys that were last asked about
	fail    error    // what reading streams answers
	away    string   // a method that fails
	reads   int
	most    atomic.Int64 // changes that were read at once; several may replay
}

func newWorld(t *testing.T, limits live.Limits) *world {
	w := &world{T: t, now: time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC), streams: map[live.Key][]delivery.Change{}}
	w.hub = live.New(w, w, func() time.Time { return w.now }, limits)
	return w
}

var errAway = errors.New("the database is away")

func (w *world) call(method string) error {
	if w.away == method {
		return errAway
	}
	return nil
}

func (w *world) DeliveryHead(context.Context) (int64, error) { return w.head, w.call("DeliveryHead") }

func (w *world) DeliveryRecords(_ context.Context, after int64, limit int) (found []live.Record, err error) {
	w.reads++
	if err := w.call("DeliveryRecords"); err != nil {
		return nil, err
	}
	for _, r := range w.records {
		if r.Position > after && len(found) < limit {
			found = append(found, r)
		}
	}
	return found, nil
}

func (w *world) TenantDeliveryRecords(_ context.Context, owner tenant.ID, after, upTo int64) (found []live.Record, err error) {
	for _, r := range w.records {
		if r.Tenant == owner && r.Position > after && r.Position <= upTo {
			found = append(found, r)
		}
	}
	return found, w.call("TenantDeliveryRecords")
}

func (w *world) DeliveryStreams(_ context.Context, upTo map[live.Key]int64) (map[live.Key][]delivery.Change, error) {
	streams, read := map[live.Key][]delivery.Change{}, 0
	for key, version := range upTo {
		streams[key] = slices.Clone(w.streams[key][:min(version, int64(len(w.streams[key])))])
		read += len(streams[key])
	}
	for most := w.most.Load(); int64(read) > most && !w.most.CompareAndSwap(most, int64(read)); most = w.most.Load() {
	}
	return streams, w.fail
}

func (w *world) EndedKeys(_ context.Context, ids []string, _ time.Time) (ended []string, err error) {
	w.asked = slices.Sorted(slices.Values(ids))
	if err := w.call("EndedKeys"); err != nil {
		return nil, err
	}
	for _, id := range ids {
		if slices.Contains(w.ended, id) {
			ended = append(ended, id)
		}
	}
	return ended, nil
}

// record appends changes of a delivery as one commit.
func (w *world) record(owner tenant.ID, id string, changes ...delivery.Change) {
	key := live.Key{Tenant: owner, DeliveryID: id}
	for _, c := range changes {
		w.head++
		w.streams[key] = append(w.streams[key], c)
		w.records = append(w.records, live.Record{Position: w.head, Tenant: owner, DeliveryID: id, Version: int64(len(w.streams[key]))})
	}
}

func (w *world) scheduled(owner tenant.ID, id string) {
	w.record(owner, id, delivery.Scheduled{At: w.now, ID: id, Tenant: owner, EventID: "evt_1", EventType: event.TargetImported, SubscriptionID: "sub_1", SubscriptionVersion: 1, BodyNumber: 1})
}

func (w *world) succeeded(owner tenant.ID, id string) {
	w.now = w.now.Add(time.Millisecond)
	w.record(owner, id, delivery.AttemptSucceeded{At: w.now, Attempt: delivery.Attempt{Number: 1, Outcome: delivery.Outcome{Kind: delivery.KindSucceeded, Status: 200}}})
}

func (w *world) listen(owner tenant.ID, f live.Filter) *live.Listener {
	w.Helper()
	l, err := w.hub.Listen(w.Context(), owner, "key_1", f)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func (w *world) step() (next time.Time) {
	w.Helper()
	next, err := w.hub.Step(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	return next
}

// heard takes what waits for the listener: "id status", or "beat".
func heard(l *live.Listener) (told []string) {
	for {
		select {
		case c := <-l.Changes():
			if c.IsBeat() {
				told = append(told, "beat")
			} else {
				told = append(told, c.ID+" "+string(c.Status))
			}
		default:
			return told
		}
	}
}

func (w *world) wants(what string, got []string, want ...string) {
	w.Helper()
	if !slices.Equal(got, want) {
		w.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func reason(l *live.Listener) error {
	select {
	case <-l.Ended():
		return l.Reason()
	default:
		return errors.New("it listens still")
	}
}
