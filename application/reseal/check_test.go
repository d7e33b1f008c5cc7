package reseal_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/reseal"
)

// starts wants a process with these keys to start, or not to.
func (w *world) starts(want bool, primary byte, older ...byte) {
	w.Helper()
	sealer := w.sealer(primary, older...)
	err := reseal.Check(w.Context(), sqlite.NewStore(w.db, sealer), sealer)
	if want != (err == nil) || err != nil && !strings.Contains(err.Error(), "the master key is not the one") {
		w.Errorf("with the keys %d, %v: %v", primary, older, err)
	}
}

// rotate is rotate-master.
func (w *world) rotate(primary byte, older ...byte) {
	w.Helper()
	sealer := w.sealer(primary, older...)
	_, err := reseal.All(w.Context(), sqlite.NewStore(w.db, sealer), sealer)
	w.ok(err)
}

// The first process decides, though it has sealed nothing yet.
func TestAnotherMasterKeyIsRefusedFromTheFirstStartOn(t *testing.T) {
	w := newWorld(t)
	w.starts(true, 1)
	w.starts(false, 2)
	w.starts(true, 1)
	for _, both := range [][2]byte{{1, 2}, {2, 1}} {
		w.starts(true, both[0], both[1])
	}
}

// What decides is sealed anew like all else, whichever of the keys a process has first.
func TestTheMasterKeyIsTheOneThatItWasRotatedTo(t *testing.T) {
	w := newWorld(t)
	w.starts(true, 1)
	w.rotate(2, 1)
	w.starts(true, 2)
	w.starts(false, 1)
	w.rotate(1, 2)
	w.starts(true, 1)
	w.starts(false, 2)
}

// A database of an older version has secrets, and nothing else that decides. One damaged secret is no sign of another key.
func TestAMasterKeyThatOpensNoSecretIsRefused(t *testing.T) {
	w := newWorld(t)
	w.fill(w.sealer(3), 0, 1)
	w.fill(w.sealer(1), 1, 3)
	w.starts(false, 2)
	w.starts(true, 2, 1)
	w.starts(true, 2, 3)
}

// Damage costs only what is damaged.
func TestADamagedMarkerIsMadeAnew(t *testing.T) {
	w := newWorld(t)
	w.starts(true, 1)
	w.ok(w.db.Update(t.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE idempotency_keys SET sealed = substr(sealed, 1, 20)`)
		return err
	}))
	w.starts(true, 1)
	w.starts(false, 2)
	w.rotate(2, 1)
	w.starts(true, 2)
}

// A key may be made where nothing has been sealed yet: a secret of an older version, or what the first start seals, has one already.
func TestWhatIsSealedHasAMasterKey(t *testing.T) {
	unsealed := func(w *world) error { return reseal.CheckUnsealed(w.Context(), sqlite.NewStore(w.db, nil)) }
	started, filled := newWorld(t), newWorld(t)
	for _, w := range []*world{started, filled} {
		w.ok(unsealed(w))
	}
	started.starts(true, 1)
	filled.fill(filled.sealer(1), 0, 1)
	for _, w := range []*world{started, filled} {
		if err := unsealed(w); err == nil {
			t.Error("another key may be made")
		}
	}
}
