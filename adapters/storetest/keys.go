package storetest

import (
	"cmp"
	"context"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	keys "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// key saves a key whose secret text is its ID.
func (w *world) key(owner tenant.ID) keys.Key {
	w.Helper()
	k := keys.Key{
		ID: w.id("key_"), Name: "a key", Tenant: owner, Scopes: []keys.Scope{keys.EventsWrite, keys.WebhooksManage},
		Prefix: "ord_live_abc", CreatedAt: at(1), ExpiresAt: at(1e6),
	}
	if owner != "" {
		k.SubscriptionID = w.subscribe(owner, nil).ID
	}
	w.ok(w.SaveKey(w.ctx, k, hashOf(k.ID)), "save a key")
	return k
}

func (w *world) keysOf(owner tenant.ID, page access.Page) (ids []string) {
	w.Helper()
	list, err := w.Keys(w.ctx, owner, page)
	w.ok(err, "list keys")
	for _, k := range list {
		ids = append(ids, k.ID)
	}
	return ids
}

func (w *world) keyStands(want keys.Key) {
	w.Helper()
	got, err := w.KeyByHash(w.ctx, hashOf(want.ID))
	w.ok(err, "find a key by its hash")
	equal(w, "the key", got, want)
}

var keyChecks = []Check{
	{"keys/come back as they were saved", func(w *world) {
		w.keyStands(w.key(acme))
		w.keyStands(w.key("")) // a platform key
		forever := keys.Key{ID: w.id("key_"), Name: "forever", Tenant: acme, Scopes: []keys.Scope{keys.EventsRead}, Prefix: "p", CreatedAt: at(0)}
		w.ok(w.SaveKey(w.ctx, forever, hashOf(forever.ID)), "save a key without an end")
		w.keyStands(forever)
		_, err := w.KeyByHash(w.ctx, hashOf("nobody's"))
		w.refused(err, problem.NotFound, "find nobody's key")
	}},
	{"keys/a hash is taken once", func(w *world) {
		first := w.key(acme)
		again := first
		again.ID, again.Tenant, again.SubscriptionID = w.id("key_"), other, ""
		w.refused(w.SaveKey(w.ctx, again, hashOf(first.ID)), problem.Conflict, "save another key with the hash")
		sameID := first
		sameID.Tenant, sameID.SubscriptionID = other, ""
		w.refused(w.SaveKey(w.ctx, sameID, hashOf("fresh")), problem.Conflict, "save another key with the ID")
		w.keyStands(first)
		w.refused(w.SaveKey(w.ctx, keys.Key{ID: w.id("key_"), Tenant: "nobody", CreatedAt: at(0)}, hashOf("x")), problem.NotFound, "save a key of nobody")
	}},
	{"keys/those that live are counted", func(w *world) {
		count := func(owner tenant.ID, now time.Time, want int) {
			w.Helper()
			n, err := w.CountKeys(w.ctx, owner, now)
			w.ok(err, "count keys")
			equal(w, "live keys of "+string(owner), n, want)
		}
		live, revoked := w.key(acme), w.key(acme)
		w.key(other)
		w.key("")
		w.ok(w.RevokeKey(w.ctx, acme, revoked.ID, at(5)), "revoke a key")
		forever := keys.Key{ID: w.id("key_"), Name: "forever", Tenant: acme, Scopes: []keys.Scope{keys.EventsRead}, Prefix: "p", CreatedAt: at(0)}
		w.ok(w.SaveKey(w.ctx, forever, hashOf(forever.ID)), "save a key without an end")
		count(acme, at(6), 2)
		count(other, at(6), 1)
		count("nobody", at(6), 0)
		count(acme, live.ExpiresAt.Add(-time.Microsecond), 2)
		count(acme, live.ExpiresAt, 1)
	}},
	{"keys/who counts them before there is one more counts all", func(w *world) {
		for made := range 3 { // the first time a connection may be made meanwhile
			countedInTurn(w, made)
		}
	}},
	{"keys/are bound to a subscription of their tenant", func(w *world) {
		deleted := w.subscribe(acme, nil)
		w.delete(deleted, at(1))
		for what, id := range map[string]string{"nobody's": "sub_nobody", "somebody else's": w.subscribe(other, nil).ID, "one that was deleted": deleted.ID} {
			bound := keys.Key{ID: w.id("key_"), Name: "bound", Tenant: acme, Scopes: []keys.Scope{keys.EventsRead}, SubscriptionID: id, Prefix: "p", CreatedAt: at(0)}
			w.refused(w.SaveKey(w.ctx, bound, hashOf(bound.ID)), problem.NotFound, "save a key of a subscription, "+what)
		}
	}},
	{"keys/revoked once, by its tenant or by the platform", func(w *world) {
		mine, second := w.key(acme), w.key(acme)
		w.refused(w.RevokeKey(w.ctx, other, mine.ID, at(5)), problem.NotFound, "revoke another tenant's key")
		w.keyStands(mine)
		w.ok(w.RevokeKey(w.ctx, acme, mine.ID, at(5)), "revoke a key")
		mine.RevokedAt = at(5)
		w.keyStands(mine)
		w.ok(w.RevokeKey(w.ctx, acme, mine.ID, at(6)), "revoke it again")
		w.keyStands(mine)
		w.ok(w.RevokeKey(w.ctx, "", second.ID, at(7)), "revoke a key as the platform")
		second.RevokedAt = at(7)
		w.keyStands(second)
		platform := w.key("")
		w.refused(w.RevokeKey(w.ctx, acme, platform.ID, at(8)), problem.NotFound, "revoke the platform's key as a tenant")
	}},
	{"keys/last use", func(w *world) {
		a, b, c := w.key(acme), w.key(other), w.key(acme)
		w.ok(w.TouchKeys(w.ctx, map[string]time.Time{a.ID: at(60), b.ID: at(61), "key_nowhere": at(62)}), "touch keys")
		a.LastUsedAt, b.LastUsedAt = at(60), at(61)
		w.keyStands(a)
		w.keyStands(b)
		w.keyStands(c)
		w.ok(w.TouchKeys(w.ctx, nil), "touch none")
	}},
	{"keys/pages, newest first, of one tenant or of all", func(w *world) {
		a, b, c, p := w.key(acme), w.key(other), w.key(acme), w.key("")
		all := access.Page{Limit: 10}
		equal(w, "one tenant's", w.keysOf(acme, all), []string{c.ID, a.ID})
		equal(w, "another's", w.keysOf(other, all), []string{b.ID})
		equal(w, "all", w.keysOf("", all), []string{p.ID, c.ID, b.ID, a.ID})
		equal(w, "the first page of all", w.keysOf("", access.Page{Limit: 2}), []string{p.ID, c.ID})
		equal(w, "the second page of all", w.keysOf("", access.Page{Limit: 2, After: c.ID}), []string{b.ID, a.ID})
		equal(w, "one tenant's second page", w.keysOf(acme, access.Page{Limit: 1, After: c.ID}), []string{a.ID})
		equal(w, "nobody's", w.keysOf("nobody", all), nil)
	}},
}

// countedInTurn makes one more key than made while another transaction counts, which has to wait.
func countedInTurn(w *world, made int) {
	w.Helper()
	more := keys.Key{ID: w.id("key_"), Name: "one more", Tenant: acme, Scopes: []keys.Scope{keys.EventsRead}, Prefix: "p", CreatedAt: at(0)}
	counted, failed := make(chan int, 1), make(chan error, 1)
	w.ok(w.InTx(w.ctx, func(ctx context.Context) error {
		n, err := w.CountKeys(ctx, acme, at(0))
		equal(w, "keys at first", n, made)
		go func() {
			failed <- w.InTx(w.ctx, func(ctx context.Context) error {
				n, err := w.CountKeys(ctx, acme, at(0))
				counted <- n
				return err
			})
		}()
		select {
		case n := <-counted:
			w.Errorf("%d keys are counted while there is to be one more", n)
			counted <- made + 1
		case <-time.After(100 * time.Millisecond): // it waits, as it should
		}
		return cmp.Or(err, w.SaveKey(ctx, more, hashOf(more.ID)))
	}), "count, and make one more")
	w.ok(<-failed, "count at the same time")
	equal(w, "keys behind it", <-counted, made+1)
}
