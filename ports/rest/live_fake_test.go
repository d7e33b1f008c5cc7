package rest_test

import (
	"context"
	"slices"
	"time"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// record appends a change of a delivery to the fake's log.
func (f *fake) record(owner tenant.ID, id string, c delivery.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changes[id] = append(f.changes[id], c)
	f.log = append(f.log, live.Record{Position: int64(len(f.log)) + 1, Tenant: owner, DeliveryID: id, Version: int64(len(f.changes[id]))})
}

func (f *fake) DeliveryHead(context.Context) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return int64(len(f.log)), f.fail
}

func (f *fake) DeliveryRecords(_ context.Context, after int64, _ int) ([]live.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.log[after:]), f.fail
}

func (f *fake) TenantDeliveryRecords(_ context.Context, owner tenant.ID, after, upTo int64) ([]live.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.log[after:upTo]), func(r live.Record) bool { return r.Tenant != owner }), f.fail
}

func (f *fake) DeliveryStreams(_ context.Context, upTo map[live.Key]int64) (map[live.Key][]delivery.Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	streams := map[live.Key][]delivery.Change{}
	for key, version := range upTo {
		changes := f.changes[key.DeliveryID]
		streams[key] = slices.Clone(changes[:min(version, int64(len(changes)))])
	}
	return streams, f.fail
}

func (f *fake) EndedKeys(_ context.Context, ids []string, now time.Time) (ended []string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.keys {
		if slices.Contains(ids, k.ID) && !k.Live(now) {
			ended = append(ended, k.ID)
		}
	}
	return ended, f.fail
}

func (f *fake) LastAttempts(_ context.Context, _ tenant.ID, upTo map[string]int64) (map[string]delivery.Change, error) {
	ends := map[string]delivery.Change{}
	for id := range upTo {
		for _, c := range f.changes[id] {
			if _, is := delivery.EndOf(c); is {
				ends[id] = c
			}
		}
	}
	return ends, f.fail
}
