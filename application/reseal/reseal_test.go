package reseal_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/seal"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/dispatch"
	"github.com/ordinavo/webhooks/application/idempotency"
	"github.com/ordinavo/webhooks/application/reseal"
	"github.com/ordinavo/webhooks/domain/secret"
)

// world is a database with sealed values, and the keys 1, 2 and 3.
type world struct {
	*testing.T
	db *sqlite.DB
}

func newWorld(t *testing.T) *world {
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "reseal.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	return &world{t, db}
}

func (w *world) ok(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) sealer(primary byte, older ...byte) *seal.Sealer {
	w.Helper()
	keys := make([][]byte, len(older))
	for i, fill := range older {
		keys[i] = []byte(strings.Repeat(string(rune('a'+fill)), seal.KeySize))
	}
	s, err := seal.New([]byte(strings.Repeat(string(rune('a'+primary)), seal.KeySize)), keys...)
	w.ok(err)
	return s
}

var (
	start  = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	signed = secret.FromBytes([32]byte{7})
	answer = idempotency.Answer{Status: 201, Header: map[string]string{}, Body: []byte(`{"secret":"whsec_x"}`)}
)

func lane(n int) dispatch.Lane {
	return dispatch.Lane{Tenant: "acme", SubscriptionID: "sub_" + strings.Repeat("x", n)}
}

func request(n int) idempotency.Request {
	return idempotency.Request{Caller: "key_1", Method: "POST", Key: strings.Repeat("k", n+1)}
}

// fill seals so many secrets and answers.
func (w *world) fill(sealer *seal.Sealer, from, to int) {
	w.Helper()
	store := sqlite.NewStore(w.db, sealer)
	answers := idempotency.New(store, sealer, func() time.Time { return start }, func() string { return "token" })
	for n := from; n < to; n++ {
		w.ok(store.SaveSecret(w.Context(), lane(n), "sec_1", signed, start))
		reserved, _, err := answers.Begin(w.Context(), request(n))
		w.ok(err)
		w.ok(answers.Finish(w.Context(), reserved, &answer))
	}
}

// opens wants every value to open with the sealer, or none.
func (w *world) opens(sealer *seal.Sealer, count int, want bool) {
	w.Helper()
	store := sqlite.NewStore(w.db, sealer)
	answers := idempotency.New(store, sealer, func() time.Time { return start }, func() string { return "token" })
	for n := range count {
		got, err := store.OpenSecret(w.Context(), "acme", lane(n).SubscriptionID, "sec_1")
		_, again, answerErr := answers.Begin(w.Context(), request(n))
		if opened := err == nil && got.Equal(signed) && answerErr == nil && string(again.Body) == string(answer.Body); opened != want {
			w.Fatalf("value %d opens: %t (%v, %v)", n, opened, err, answerErr)
		}
	}
}

func TestEverythingIsSealedAnew(t *testing.T) {
	w := newWorld(t)
	const count = 250
	w.fill(w.sealer(1), 0, count)
	w.opens(w.sealer(2), 3, false)
	both := w.sealer(2, 1)
	for _, resealed := range []int{2 * count, 0} {
		got, err := reseal.All(t.Context(), sqlite.NewStore(w.db, both), both)
		if err != nil || got != (reseal.Counts{Values: 2 * count, Resealed: resealed}) {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	w.opens(w.sealer(2), count, true)
	w.opens(w.sealer(1), 3, false)
}

// counted counts the transactions in which values are replaced.
type counted struct {
	*sqlite.Store
	commits int
}

func (c *counted) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	c.commits++
	return c.Store.InTx(ctx, fn)
}

// Each commit waits for the disk, and of answers there may be a million.
func TestManyAreReplacedInOneTransaction(t *testing.T) {
	w := newWorld(t)
	w.fill(w.sealer(1), 0, 250)
	both := w.sealer(2, 1)
	store := &counted{Store: sqlite.NewStore(w.db, both)}
	_, err := reseal.All(t.Context(), store, both)
	w.ok(err)
	if store.commits != 4 { // of 200 and of 50, of each kind
		t.Errorf("500 values were replaced in %d transactions", store.commits)
	}
	w.opens(w.sealer(2), 250, true)
}

// interrupted fails once so many values are replaced.
type interrupted struct {
	*sqlite.Store
	left int
}

var errStopped = errors.New("stopped")

func (i *interrupted) Replace(ctx context.Context, s reseal.Sealed, fresh []byte) error {
	if i.left--; i.left < 0 {
		return errStopped
	}
	return i.Store.Replace(ctx, s, fresh)
}

// Whenever it stops: everything opens with both keys, and the next one ends it.
func TestItMayBeInterrupted(t *testing.T) {
	w := newWorld(t)
	w.fill(w.sealer(1), 0, 5)
	both := w.sealer(2, 1)
	for after := range 4 {
		if _, err := reseal.All(t.Context(), &interrupted{sqlite.NewStore(w.db, both), after}, both); !errors.Is(err, errStopped) {
			t.Fatal(err)
		}
		w.opens(both, 5, true)
	}
	_, err := reseal.All(t.Context(), sqlite.NewStore(w.db, both), both)
	w.ok(err)
	w.opens(w.sealer(2), 5, true)
}

// meanwhile lets another process, which has the old key as its first still, seal something in each walk.
type meanwhile struct {
	*sqlite.Store
	do func()
}

func (m *meanwhile) Sealed(ctx context.Context, kind reseal.Kind, after reseal.Key, limit int) ([]reseal.Sealed, error) {
	list, err := m.Store.Sealed(ctx, kind, after, limit)
	if kind == reseal.Answer && m.do != nil {
		m.do()
	}
	return list, err
}

func TestWhatIsSealedMeanwhile(t *testing.T) {
	w := newWorld(t)
	older, both := w.sealer(1, 2), w.sealer(2, 1)
	w.fill(older, 0, 2)
	made, once := 2, &meanwhile{Store: sqlite.NewStore(w.db, both)}
	once.do = func() { w.fill(older, made, made+1); made, once.do = made+1, nil }
	got, err := reseal.All(t.Context(), once, both)
	if err != nil || got.Values != 6 {
		t.Fatalf("got %+v, %v", got, err)
	}
	w.opens(w.sealer(2), 3, true)
	always := &meanwhile{Store: sqlite.NewStore(w.db, both)}
	always.do = func() { w.fill(older, made, made+1); made++ }
	always.do()
	if _, err := reseal.All(t.Context(), always, both); err == nil || !strings.Contains(err.Error(), "others go on sealing") {
		t.Errorf("got %v", err)
	}
}

// What does not open is told of, and the rest is sealed anew. A row that somebody moved to another place is such a one.
func TestWhatDoesNotOpen(t *testing.T) {
	w := newWorld(t)
	w.fill(w.sealer(3), 0, 1)
	w.fill(w.sealer(1), 1, 4)
	both := w.sealer(2, 1)
	got, err := reseal.All(t.Context(), sqlite.NewStore(w.db, both), both)
	if err == nil || !strings.Contains(err.Error(), "2 of 8 values do not open") || !strings.Contains(err.Error(), "acme/sub_/sec_1") || got.Resealed != 6 {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := sqlite.NewStore(w.db, w.sealer(2)).OpenSecret(t.Context(), "acme", "sub_x", "sec_1"); err != nil {
		t.Error(err)
	}
	w.ok(w.db.Update(t.Context(), func(ctx context.Context, tx *sqlite.Tx) error {
		for _, swap := range []string{`UPDATE secrets SET secret_id = 'sec_0' WHERE subscription_id = 'sub_x'`, `UPDATE secrets SET subscription_id = 'sub_x' WHERE subscription_id = 'sub_xx'`,
			`UPDATE secrets SET subscription_id = 'sub_xx', secret_id = 'sec_1' WHERE secret_id = 'sec_0'`} {
			if _, err := tx.Exec(ctx, swap); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, id := range []string{"sub_x", "sub_xx"} {
		if _, err := sqlite.NewStore(w.db, both).OpenSecret(t.Context(), "acme", id, "sec_1"); !errors.Is(err, seal.ErrOpen) {
			t.Errorf("the swapped secret of %s: %v", id, err)
		}
	}
}
