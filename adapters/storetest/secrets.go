package storetest

import (
	"context"
	"errors"

	"github.com/ordinavo/webhooks/domain/secret"
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
