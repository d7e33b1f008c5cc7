package storetest

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/domain/subscription"
)

var resealChecks = []Check{
	{"reseal/all that is sealed is listed, page by page, and once", func(w *world) {
		var want []string
		for _, s := range []subscription.Subscription{w.subscribe(acme, nil), w.subscribe(acme, nil), w.subscribe(other, nil)} {
			for _, id := range []string{"sec_a", "sec_b"} {
				w.ok(w.SaveSecret(w.ctx, laneOf(s), id, aSecret(1), at(0)), "save a secret")
				want = append(want, fmt.Sprint(reseal.Key{string(s.Tenant), s.ID, id}))
			}
		}
		for i := range byte(5) {
			r := reservation(i+1, "a", at(0))
			w.reserve(r, nil)
			if i == 3 {
				continue // is being worked on: there is nothing to seal
			}
			w.answer(r.Key, "a", []byte{i}, true, "answer")
			want = append(want, fmt.Sprint(reseal.Key{hex.EncodeToString(r.Key[:])}))
		}
		for _, limit := range []int{1, 2, 100} {
			var got []string
			for _, kind := range []reseal.Kind{reseal.Secret, reseal.Answer} {
				for after, more := (reseal.Key{}), true; more; {
					page, err := w.Sealed(w.ctx, kind, after, limit)
					w.ok(err, "list what is sealed")
					for _, s := range page {
						got, after = append(got, fmt.Sprint(s.Key)), s.Key
					}
					more = len(page) == limit
				}
			}
			equal(w, "sealed", got, want)
		}
	}},
	{"reseal/a value is replaced by who has seen it", func(w *world) {
		lane, r := laneOf(w.subscribe(acme, nil)), reservation(1, "a", at(0))
		w.ok(w.SaveSecret(w.ctx, lane, "sec_a", aSecret(1), at(0)), "save a secret")
		w.ok(w.SaveSecret(w.ctx, lane, "sec_b", aSecret(2), at(0)), "save a secret")
		w.reserve(r, nil)
		w.answer(r.Key, "a", []byte("old"), true, "answer")
		secrets, err := w.Sealed(w.ctx, reseal.Secret, reseal.Key{}, 10)
		w.ok(err, "list secrets")
		answers, err := w.Sealed(w.ctx, reseal.Answer, reseal.Key{}, 10)
		w.ok(err, "list answers")
		stale := reseal.Sealed{Kind: reseal.Secret, Key: secrets[0].Key, Value: secrets[1].Value}
		w.ok(w.Replace(w.ctx, stale, secrets[1].Value), "replace a secret that is another by now")
		w.ok(w.Replace(w.ctx, secrets[1], secrets[1].Value), "replace a secret")
		for i, id := range []string{"sec_a", "sec_b"} {
			got, err := w.OpenSecret(w.ctx, lane.Tenant, lane.SubscriptionID, id)
			w.ok(err, "open a secret")
			if !got.Equal(aSecret(byte(i + 1))) {
				w.Errorf("%s is another secret", id)
			}
		}
		kept := func(want string) {
			w.Helper()
			w.reserve(reservation(1, "b", at(1)), &idempotency.Found{Fingerprint: r.Fingerprint, Sealed: []byte(want)})
		}
		stale = reseal.Sealed{Kind: reseal.Answer, Key: answers[0].Key, Value: []byte("older")}
		w.ok(w.Replace(w.ctx, stale, []byte("wrong")), "replace an answer that is another by now")
		kept("old")
		w.ok(w.Replace(w.ctx, answers[0], []byte("new")), "replace an answer")
		kept("new")
	}},
	{"reseal/the first mark stays, and is sealed anew like an answer", func(w *world) {
		mark := func(value string, want string) {
			w.Helper()
			kept, err := w.Mark(w.ctx, reseal.Sealed{Kind: reseal.Answer, Key: markerKey, Value: []byte(value)})
			w.ok(err, "mark")
			equal(w, "the mark", string(kept), want)
		}
		mark("first", "first")
		mark("second", "first")
		_, err := w.DeleteExpired(w.ctx, at(100*365*24*3600), 10)
		w.ok(err, "delete what has expired")
		mark("third", "first")
		listed, err := w.Sealed(w.ctx, reseal.Answer, reseal.Key{}, 10)
		w.ok(err, "list answers")
		equal(w, "sealed", listed, []reseal.Sealed{{Kind: reseal.Answer, Key: markerKey, Value: []byte("first")}})
		w.ok(w.Replace(w.ctx, listed[0], []byte("fourth")), "replace the mark")
		mark("fifth", "fourth")
	}},
	{"reseal/of processes that mark at once all see the same", func(w *world) {
		kept, errs := make([]string, 8), make([]error, 8)
		var all sync.WaitGroup
		for i := range kept {
			all.Go(func() {
				value, err := w.Mark(w.ctx, reseal.Sealed{Kind: reseal.Answer, Key: markerKey, Value: []byte{byte(i)}})
				kept[i], errs[i] = string(value), err
			})
		}
		all.Wait()
		w.ok(errors.Join(errs...), "mark")
		equal(w, "the marks", len(slices.Compact(kept)), 1)
	}},
}

var markerKey = reseal.Key{strings.Repeat("00", 32)}
