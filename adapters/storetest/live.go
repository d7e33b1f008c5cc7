package storetest

import (
	"slices"

	"github.com/ordinavo/webhooks/application/live"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/delivery"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var liveChecks = []Check{
	{"live/the records of deliveries come in the order in which they were made", func(w *world) {
		before := w.head()
		s := w.subscribe(acme, nil)
		first, second := w.schedule(s, at(0), ""), w.schedule(s, at(0), "")
		first = w.saved(w.moved(first, "", recorded(success(at(1)), at(1))))
		foreign := w.schedule(w.subscribe(other, nil), at(2), "")
		want := []live.Record{{Tenant: acme, DeliveryID: first.ID, Version: 1}, {Tenant: acme, DeliveryID: second.ID, Version: 1}, {Tenant: acme, DeliveryID: first.ID, Version: 2}}
		got := w.recordsOf(acme, before)
		equal(w, "the tenant's records", unplaced(got), want)
		equal(w, "another tenant's records", unplaced(w.recordsOf(other, before)), []live.Record{{Tenant: other, DeliveryID: foreign.ID, Version: 1}})
		w.placed(got)
		equal(w, "records behind the head", len(w.recordsOf(acme, w.head())), 0)
		limited, err := w.DeliveryRecords(w.ctx, before, 1)
		w.ok(err, "read one record")
		equal(w, "one record", limited, got[:1])
		between, err := w.TenantDeliveryRecords(w.ctx, acme, got[0].Position, got[2].Position)
		w.ok(err, "read the tenant's records between two positions")
		equal(w, "the tenant's records between two positions", between, got[1:])
		between, err = w.TenantDeliveryRecords(w.ctx, other, got[0].Position-1, got[2].Position)
		w.ok(err, "read another tenant's records between two positions")
		equal(w, "another tenant's records between two positions", len(between), 0)
	}},
	{"live/streams are read up to a version", func(w *world) {
		s := w.subscribe(acme, nil)
		d := w.schedule(s, at(0), "")
		failed := w.saved(w.moved(d, "", recorded(failure(at(1), 500), at(1))))
		done := w.saved(w.moved(failed, "", recorded(success(at(60)), at(60))))
		still := w.schedule(s, at(2), "")
		key, stillKey := live.Key{Tenant: acme, DeliveryID: d.ID}, live.Key{Tenant: acme, DeliveryID: still.ID}
		foreign := live.Key{Tenant: other, DeliveryID: d.ID}
		for version, want := range map[int64]delivery.Delivery{1: d, 2: failed, 3: done} {
			streams, err := w.DeliveryStreams(w.ctx, map[live.Key]int64{key: version, stillKey: 1, foreign: 3})
			w.ok(err, "read streams")
			got, err := delivery.Fold(streams[key])
			w.ok(err, "fold a stream")
			equal(w, "the delivery as it was", got, want)
			equal(w, "the streams' lengths", []int{len(streams[key]), len(streams[stillKey]), len(streams[foreign])}, []int{int(version), 1, 0})
		}
	}},
	{"deliveries/the last attempt is the newest that has ended, up to a version", func(w *world) {
		s := w.subscribe(acme, nil)
		d, fresh, mine, foreign := w.schedule(s, at(0), ""), w.schedule(s, at(0), ""), w.schedule(s, at(0), ""), w.schedule(w.subscribe(other, nil), at(0), "")
		failed := w.saved(w.moved(d, "", recorded(failure(at(1), 500), at(1))))
		done := w.saved(w.moved(failed, "", recorded(success(at(60)), at(60))))
		once := w.saved(w.moved(mine, "", recorded(failure(at(2), 404), at(2))))
		once = w.saved(w.moved(once, "", func(d delivery.Delivery) ([]delivery.Change, error) { return d.Park("it is paused", at(3)) }))
		w.saved(w.moved(foreign, "", recorded(success(at(2)), at(2))))
		for version, status := range map[int64]int{failed.Version: 500, done.Version: 200} {
			ends, err := w.LastAttempts(w.ctx, acme, map[string]int64{d.ID: version, fresh.ID: fresh.Version, once.ID: once.Version, foreign.ID: 2})
			w.ok(err, "read last attempts")
			got := map[string]int{}
			for id, c := range ends {
				if attempt, is := delivery.AttemptOf(c); is {
					got[id] = attempt.Status
				}
			}
			equal(w, "the statuses of the answers", got, map[string]int{d.ID: status, once.ID: 404})
		}
	}},
	{"live/keys that have ended are told from others", func(w *world) {
		for id, k := range map[string]access.Key{"key_a": {}, "key_b": {ExpiresAt: at(10)}, "key_c": {ExpiresAt: at(20)}, "key_d": {}} {
			k.ID, k.Name, k.Tenant, k.Scopes, k.CreatedAt = id, "a key", acme, []access.Scope{access.WebhooksRead}, at(0)
			w.ok(w.SaveKey(w.ctx, k, hashOf(id)), "save a key")
		}
		w.ok(w.RevokeKey(w.ctx, acme, "key_d", at(5)), "revoke a key")
		ended, err := w.EndedKeys(w.ctx, []string{"key_a", "key_b", "key_c", "key_d", "key_0"}, at(10))
		w.ok(err, "look for keys that have ended")
		slices.Sort(ended)
		equal(w, "ended keys", ended, []string{"key_b", "key_d"})
		ended, err = w.EndedKeys(w.ctx, []string{"key_a"}, at(10))
		w.ok(err, "look for keys that have ended")
		equal(w, "ended keys of those that have not", len(ended), 0)
	}},
}

func (w *world) head() int64 {
	w.Helper()
	head, err := w.DeliveryHead(w.ctx)
	w.ok(err, "find the end of the log")
	return head
}

func (w *world) recordsOf(owner tenant.ID, after int64) []live.Record {
	w.Helper()
	records, err := w.DeliveryRecords(w.ctx, after, 100)
	w.ok(err, "read the records of deliveries")
	return slices.DeleteFunc(records, func(r live.Record) bool { return r.Tenant != owner })
}

// unplaced leaves the positions out.
func unplaced(records []live.Record) []live.Record {
	records = slices.Clone(records)
	for i := range records {
		records[i].Position = 0
	}
	return records
}

// placed checks that positions rise, up to the head at most.
func (w *world) placed(records []live.Record) {
	w.Helper()
	head := w.head()
	for i, r := range records {
		if i > 0 && r.Position <= records[i-1].Position || r.Position > head {
			w.Errorf("position %d is out of place in %+v, with the head %d", r.Position, records, head)
		}
	}
}
