package storetest

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/ordinavo/webhooks/application/idempotency"
)

func reservation(key byte, token string, now time.Time) idempotency.Reservation {
	return idempotency.Reservation{
		Key: idempotency.Key{key}, Fingerprint: idempotency.Fingerprint{key, 9}, Token: token,
		ReservedAt: now, ExpiresAt: now.Add(idempotency.Kept),
	}
}

// reserve reserves and checks what was found; nil for a key that was free.
func (w *world) reserve(r idempotency.Reservation, want *idempotency.Found) {
	w.Helper()
	found, err := w.Reserve(w.ctx, r, r.ReservedAt.Add(-idempotency.TakenOver))
	w.ok(err, "reserve")
	equal(w, "found under the key", found, want)
}

// answer answers, and checks whether the token still held.
func (w *world) answer(key idempotency.Key, token string, sealed []byte, want bool, what string) {
	w.Helper()
	held, err := w.Answer(w.ctx, key, token, sealed)
	w.ok(err, what)
	equal(w, what+": held", held, want)
}

var idempotencyChecks = []Check{
	{"idempotency/a key is reserved once", func(w *world) {
		first := reservation(1, "a", at(0))
		w.reserve(first, nil)
		second := reservation(1, "b", at(1))
		second.Fingerprint = idempotency.Fingerprint{7}
		w.reserve(second, &idempotency.Found{Fingerprint: first.Fingerprint})
		w.reserve(reservation(2, "c", at(1)), nil)
	}},
	{"idempotency/an answer is kept until it expires", func(w *world) {
		first := reservation(1, "a", at(0))
		w.reserve(first, nil)
		w.answer(first.Key, "a", []byte{0, 0xff}, true, "answer")
		answered := &idempotency.Found{Fingerprint: first.Fingerprint, Sealed: []byte{0, 0xff}}
		w.reserve(reservation(1, "b", first.ExpiresAt.Add(-time.Microsecond)), answered)
		again := reservation(1, "b", first.ExpiresAt)
		again.Fingerprint = idempotency.Fingerprint{7}
		w.reserve(again, nil)
		w.reserve(reservation(1, "c", first.ExpiresAt), &idempotency.Found{Fingerprint: again.Fingerprint})
	}},
	{"idempotency/an answer outlives the process that gave it", func(w *world) {
		first := reservation(1, "a", at(0))
		w.reserve(first, nil)
		w.answer(first.Key, "a", []byte("right"), true, "answer")
		w.ok(w.BeginIncarnation(w.ctx, "inc_next", at(1)), "begin another process")
		w.reserve(reservation(1, "b", at(2)), &idempotency.Found{Fingerprint: first.Fingerprint, Sealed: []byte("right")})
	}},
	{"idempotency/an answer is given once, by who holds the token", func(w *world) {
		first := reservation(1, "a", at(0))
		w.reserve(first, nil)
		w.answer(first.Key, "b", []byte("forged"), false, "answer with another token")
		w.reserve(reservation(1, "x", at(1)), &idempotency.Found{Fingerprint: first.Fingerprint})
		w.answer(first.Key, "a", []byte("right"), true, "answer")
		w.answer(first.Key, "a", []byte("late"), false, "answer again")
		w.ok(w.Release(w.ctx, first.Key, "a"), "release what is answered")
		w.reserve(reservation(1, "x", at(1)), &idempotency.Found{Fingerprint: first.Fingerprint, Sealed: []byte("right")})
	}},
	{"idempotency/released by who holds the token", func(w *world) {
		first := reservation(1, "a", at(0))
		w.reserve(first, nil)
		w.ok(w.Release(w.ctx, first.Key, "b"), "release with another token")
		w.reserve(reservation(1, "x", at(1)), &idempotency.Found{Fingerprint: first.Fingerprint})
		w.ok(w.Release(w.ctx, first.Key, "a"), "release")
		w.reserve(reservation(1, "x", at(1)), nil)
	}},
	{"idempotency/what a crash left is taken over", func(w *world) {
		first := reservation(1, "a", at(0))
		w.reserve(first, nil)
		w.reserve(reservation(1, "b", at(0).Add(idempotency.TakenOver-time.Microsecond)), &idempotency.Found{Fingerprint: first.Fingerprint})
		w.reserve(reservation(1, "b", at(0).Add(idempotency.TakenOver)), nil)
		w.answer(first.Key, "a", []byte("late"), false, "answer what was taken over")
		w.ok(w.Release(w.ctx, first.Key, "a"), "release what was taken over")
		w.reserve(reservation(1, "c", at(0).Add(idempotency.TakenOver)), &idempotency.Found{Fingerprint: first.Fingerprint})
		answered := reservation(2, "a", at(0))
		w.reserve(answered, nil)
		w.answer(answered.Key, "a", []byte("done"), true, "answer")
		w.reserve(reservation(2, "b", at(3600)), &idempotency.Found{Fingerprint: answered.Fingerprint, Sealed: []byte("done")})
	}},
	{"idempotency/expired rows are deleted in batches", func(w *world) {
		for i := range 5 {
			w.reserve(reservation(byte(i), "a", at(float64(i))), nil)
		}
		for _, want := range []int{2, 1, 0} {
			n, err := w.DeleteExpired(w.ctx, at(2).Add(idempotency.Kept), 2)
			w.ok(err, "delete what expired")
			equal(w, "deleted", n, want)
		}
		w.reserve(reservation(3, "b", at(4)), &idempotency.Found{Fingerprint: reservation(3, "", at(0)).Fingerprint})
	}},
	{"idempotency/of many at once, one gets the key", func(w *world) {
		var won, failed atomic.Int32
		var wait sync.WaitGroup
		for i := range 8 {
			wait.Go(func() {
				found, err := w.Reserve(w.ctx, reservation(1, string(rune('a'+i)), at(0)), at(-60))
				switch {
				case err != nil:
					failed.Add(1)
				case found == nil:
					won.Add(1)
				}
			})
		}
		wait.Wait()
		equal(w, "errors", failed.Load(), 0)
		equal(w, "winners", won.Load(), 1)
	}},
}
