package storetest

import (
	"context"
	"errors"
	"slices"

	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/domain/secret"
	"github.com/ordinavo/webhooks/domain/subscription"
)

func aSecret(fill byte) secret.Secret {
	var random [secret.Size]byte
	for i := range random {
		random[i] = fill
	}
	return secret.FromBytes(random)
}

var secretChecks = []Check{
	{"secrets/come back as they were saved", func(w *world) {
		s := w.subscribe(acme, nil)
		w.ok(w.SaveSecret(w.ctx, laneOf(s), "sec_a", aSecret(1), at(0)), "save a secret")
		w.ok(w.SaveSecret(w.ctx, laneOf(s), "sec_b", aSecret(2), at(0)), "save another secret")
		for id, want := range map[string]secret.Secret{"sec_a": aSecret(1), "sec_b": aSecret(2)} {
			got, err := w.OpenSecret(w.ctx, acme, s.ID, id)
			w.ok(err, "open a secret")
			if !got.Equal(want) {
				w.Errorf("%s is another secret", id)
			}
		}
		if _, err := w.OpenSecret(w.ctx, acme, s.ID, "sec_c"); err == nil {
			w.Errorf("a secret that was never saved was opened")
		}
		if err := w.SaveSecret(w.ctx, laneOf(s), "sec_a", aSecret(3), at(1)); err == nil {
			w.Errorf("a secret was replaced")
		}
	}},
	{"secrets/a row that was moved to another lane does not open", func(w *world) {
		mine, theirs, sibling := w.subscribe(acme, nil), w.subscribe(other, nil), w.subscribe(acme, nil)
		for _, thief := range []struct{ name, id string }{{"another tenant", theirs.ID}, {"another subscription", sibling.ID}} {
			to := laneOf(theirs)
			if thief.id == sibling.ID {
				to = laneOf(sibling)
			}
			id := w.id("sec_")
			w.ok(w.SaveSecret(w.ctx, laneOf(mine), id, aSecret(1), at(0)), "save a secret")
			w.ok(w.MoveSecret(w.ctx, laneOf(mine), to, id), "move its row")
			if _, err := w.OpenSecret(w.ctx, to.Tenant, to.SubscriptionID, id); err == nil {
				w.Errorf("a secret opened for %s", thief.name)
			}
		}
	}},
	{"secrets/a rotation forgets those that have ended, and a deletion all", func(w *world) {
		s, sibling, unsaved := w.subscribe(acme, nil), w.subscribe(acme, nil), w.subscribe(acme, nil)
		save := func(of subscription.Subscription, id string) {
			w.ok(w.SaveSecret(w.ctx, laneOf(of), id, aSecret(1), at(0)), "save a secret")
		}
		has := func(when string, of subscription.Subscription, want ...string) {
			var there []string
			for _, id := range []string{of.Secrets.Current, "sec_a", "sec_b", "sec_c", "sec_d"} {
				if _, err := w.OpenSecret(w.ctx, acme, of.ID, id); err == nil {
					there = append(there, id)
				}
			}
			if !slices.Equal(there, want) {
				w.Errorf("%s there are the secrets %v, want %v", when, there, want)
			}
		}
		rotated, first := s, s.Secrets.Current
		save(s, first)
		save(sibling, sibling.Secrets.Current)
		for i, id := range []string{"sec_a", "sec_b", "sec_c"} {
			save(s, id)
			rotated = rotate(w, rotated, id, 1, at(float64(4000*i)))
			if i == 0 {
				has("with one rotation", s, first, "sec_a")
			}
		}
		has("after three rotations, each behind the overlap of the one before", s, "sec_b", "sec_c")
		if _, err := w.OpenSecret(w.ctx, acme, s.ID, first); !errors.Is(err, dispatch.ErrDeleted) {
			w.Errorf("a secret that has been rotated away fails with %v", err)
		}
		save(s, "sec_d")
		rotated = rotate(w, rotated, "sec_d", 0, at(8001))
		has("after one that ended an overlap", s, "sec_b", "sec_c", "sec_d")
		w.change(rotated, func(s subscription.Subscription) ([]subscription.Change, error) { return s.Delete(at(20_000)) })
		has("once it is deleted", s)
		if _, err := w.OpenSecret(w.ctx, acme, s.ID, "sec_d"); !errors.Is(err, dispatch.ErrDeleted) {
			w.Errorf("a secret that was deleted with its subscription fails with %v", err)
		}
		if _, err := w.OpenSecret(w.ctx, acme, unsaved.ID, unsaved.Secrets.Current); err == nil || errors.Is(err, dispatch.ErrDeleted) {
			w.Errorf("a secret that is missing fails with %v", err)
		}
		has("of another subscription", sibling, sibling.Secrets.Current)
	}},
	{"secrets/a rollback leaves none", func(w *world) {
		s := w.subscribe(acme, nil)
		failed := errors.New("no")
		err := w.InTx(w.ctx, func(ctx context.Context) error {
			w.ok(w.SaveSecret(ctx, laneOf(s), "sec_a", aSecret(1), at(0)), "save a secret")
			return failed
		})
		if !errors.Is(err, failed) {
			w.Errorf("InTx gave %v", err)
		}
		if _, err := w.OpenSecret(w.ctx, acme, s.ID, "sec_a"); err == nil {
			w.Errorf("a secret outlived its transaction")
		}
	}},
}
