package storetest

import (
	"encoding/hex"
	"fmt"

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
}
