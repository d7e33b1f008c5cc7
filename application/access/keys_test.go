package access_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/access"
	domain "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

var start = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

// world is a database with two processes' Keys on it.
type world struct {
	*testing.T
	*counting
	here, there *access.Keys
	now         time.Time
	made        int
}

// counting is a store that counts the look-ups.
type counting struct {
	*sqlite.Store
	lookups int
	fail    error
	found   func() // is called behind a look-up
	listed  func() // is called behind a list
	// Why there is no list, and why no key is saved.
	unlisted, unsaved error
}

func (c *counting) Keys(ctx context.Context, owner tenant.ID, page access.Page) ([]domain.Key, error) {
	list, err := c.Store.Keys(ctx, owner, page)
	if c.listed != nil {
		c.listed()
	}
	if c.unlisted != nil {
		return nil, c.unlisted
	}
	return list, err
}

func (c *counting) SaveKey(ctx context.Context, key domain.Key, hash access.Hash) error {
	if c.unsaved != nil {
		return c.unsaved
	}
	return c.Store.SaveKey(ctx, key, hash)
}

func (c *counting) KeyByHash(ctx context.Context, hash access.Hash) (domain.Key, error) {
	c.lookups++
	if c.fail != nil {
		return domain.Key{}, c.fail
	}
	key, err := c.Store.KeyByHash(ctx, hash)
	if c.found != nil {
		c.found()
	}
	return key, err
}

type plain struct{}

func (plain) Seal(p []byte, _ ...string) ([]byte, error) { return p, nil }
func (plain) Open(p []byte, _ ...string) ([]byte, error) { return p, nil }

func newWorld(t *testing.T) *world {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "access.db"))
	if err == nil {
		err = db.Migrate()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	w := &world{T: t, counting: &counting{Store: sqlite.NewStore(db, plain{})}, now: start}
	now := func() time.Time { return w.now }
	id := func(prefix string) string { w.made++; return fmt.Sprintf("%s%026d", prefix, w.made) }
	w.here, w.there = access.NewKeys(w.counting, now, id, rand.Reader), access.NewKeys(w.counting, now, id, rand.Reader)
	for _, owner := range []tenant.ID{"acme", "other"} {
		if err := w.CreateTenant(t.Context(), access.Tenant{ID: owner, Name: "n", Weight: tenant.DefaultWeight, CreatedAt: start}); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

var operator = domain.Key{ID: "key_operator", Scopes: domain.Scopes()}

func (w *world) create(wanted domain.Key) (domain.Key, string) {
	w.Helper()
	key, text, err := w.here.Create(w.Context(), operator, wanted)
	if err != nil {
		w.Fatal(err)
	}
	return key, text
}

// opens reports whether the key is taken.
func (w *world) opens(keys *access.Keys, text string) bool {
	w.Helper()
	_, err := keys.Authenticate(w.Context(), text)
	if err != nil && !problem.Is(err, problem.Unauthorized) {
		w.Fatal(err)
	}
	return err == nil
}

func reading(owner tenant.ID) domain.Key {
	return domain.Key{Name: "ERP", Tenant: owner, Scopes: []domain.Scope{domain.WebhooksRead}}
}

func TestAKeyIsShownOnceAndKeptHashed(t *testing.T) {
	w := newWorld(t)
	key, text := w.create(reading("acme"))
	if !strings.HasPrefix(text, "ord_live_") || len(text) < len("ord_live_")+43 || !strings.HasPrefix(text, key.Prefix) || len(key.Prefix) > 15 {
		t.Errorf("made %q of %q", key.Prefix, text)
	}
	got, err := w.there.Authenticate(t.Context(), text)
	if err != nil || got.ID != key.ID || got.Tenant != "acme" || !slices.Equal(got.Scopes, key.Scopes) {
		t.Errorf("%+v, %v", got, err)
	}
	if _, again := w.create(reading("acme")); again == text {
		t.Error("the same key twice")
	}
	for _, wrong := range []string{"", "ord_live_", text[:len(text)-1], text + "A", strings.Repeat("x", 5000), strings.ToUpper(text)} {
		for range 2 { // what is looked up is remembered
			if w.opens(w.here, wrong) {
				t.Errorf("%q opens", wrong)
			}
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	admin := domain.Key{Tenant: "acme", Scopes: []domain.Scope{domain.WebhooksManage, domain.WebhooksRead}}
	limited := domain.Key{Scopes: []domain.Scope{domain.EventsWrite}} // a platform key without platform.admin
	with := func(edit func(*domain.Key)) domain.Key {
		k := reading("acme")
		edit(&k)
		return k
	}
	for name, c := range map[string]struct {
		by, wanted domain.Key
		code       problem.Code
		fields     []string
	}{
		"another tenant's":            {admin, reading("other"), problem.Forbidden, nil},
		"a platform key by a tenant":  {admin, reading(""), problem.Forbidden, nil},
		"a scope that it lacks":       {admin, with(func(k *domain.Key) { k.Scopes = append(k.Scopes, domain.EventsWrite) }), problem.Forbidden, nil},
		"a platform key's lack":       {limited, reading("acme"), problem.Forbidden, nil},
		"no scopes":                   {operator, with(func(k *domain.Key) { k.Scopes = nil }), problem.ValidationFailed, []string{"scopes"}},
		"an unknown scope":            {operator, with(func(k *domain.Key) { k.Scopes = append(k.Scopes, "all") }), problem.ValidationFailed, []string{"scopes[1]"}},
		"platform.admin for a tenant": {operator, with(func(k *domain.Key) { k.Scopes = domain.Scopes() }), problem.ValidationFailed, []string{"scopes"}},
		"no name":                     {operator, with(func(k *domain.Key) { k.Name = "" }), problem.ValidationFailed, []string{"name"}},
		"a name with a line break":    {operator, with(func(k *domain.Key) { k.Name = "a\nb" }), problem.ValidationFailed, []string{"name"}},
		"a tenant that cannot be":     {operator, with(func(k *domain.Key) { k.Tenant = "a b" }), problem.ValidationFailed, []string{"tenantId"}},
		"a tenant that is not there":  {operator, reading("nobody"), problem.NotFound, nil},
		"bound without a tenant":      {operator, with(func(k *domain.Key) { k.Tenant, k.SubscriptionID = "", "sub_1" }), problem.ValidationFailed, []string{"subscriptionId"}},
		"expired already":             {operator, with(func(k *domain.Key) { k.ExpiresAt = start }), problem.ValidationFailed, []string{"expiresAt"}},
		"expires in year 10000 (UTC)": {operator, with(func(k *domain.Key) {
			k.ExpiresAt = time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -(23*60+59)*60))
		}), problem.ValidationFailed, []string{"expiresAt"}},
		"several": {operator, with(func(k *domain.Key) { k.Name, k.Scopes = strings.Repeat("x", 201), nil }), problem.ValidationFailed, []string{"name", "scopes"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			_, text, err := w.here.Create(t.Context(), c.by, c.wanted)
			var p *problem.Error
			if !errors.As(err, &p) || p.Code != c.code || !slices.Equal(slices.Sorted(maps.Keys(p.Fields)), c.fields) || text != "" {
				t.Errorf("got %v", err)
			}
		})
	}
	w := newWorld(t)
	if _, _, err := w.here.Create(t.Context(), admin, reading("acme")); err != nil {
		t.Errorf("a tenant's own: %v", err)
	}
}

// Or whoever gets hold of a key for an hour has one for ever.
func TestAKeyMakesNoneThatOutlivesIt(t *testing.T) {
	w := newWorld(t)
	makers := []domain.Key{{Tenant: "acme", Scopes: []domain.Scope{domain.WebhooksManage, domain.WebhooksRead}}, operator}
	for _, maker := range makers {
		maker.ExpiresAt = start.Add(time.Hour)
		for _, c := range []struct {
			expiresAt time.Time
			allowed   bool
		}{{time.Time{}, false}, {maker.ExpiresAt.Add(time.Microsecond), false}, {maker.ExpiresAt, true}, {start.Add(time.Minute), true}} {
			wanted := reading("acme")
			wanted.ExpiresAt = c.expiresAt
			made, text, err := w.here.Create(t.Context(), maker, wanted)
			var p *problem.Error
			switch {
			case c.allowed && (err != nil || !made.ExpiresAt.Equal(c.expiresAt)):
				t.Errorf("%v: %+v, %v", c.expiresAt, made, err)
			case !c.allowed && (!errors.As(err, &p) || p.Code != problem.ValidationFailed || len(p.Fields["expiresAt"]) != 1 || text != ""):
				t.Errorf("%v: %+v, %v", c.expiresAt, made, err)
			}
		}
	}
}

// A key is shown as it is kept, and makes one for the very time that it was made for.
func TestExpiryIsKeptToTheMicrosecond(t *testing.T) {
	w := newWorld(t)
	admin := domain.Key{Name: "admin", Tenant: "acme", Scopes: []domain.Scope{domain.WebhooksManage}, ExpiresAt: start.Add(time.Hour + 700*time.Nanosecond)}
	made, _, err := w.here.Create(t.Context(), operator, admin)
	if err != nil || !made.ExpiresAt.Equal(start.Add(time.Hour)) {
		t.Fatalf("%+v, %v", made, err)
	}
	if _, _, err := w.here.Create(t.Context(), made, admin); err != nil {
		t.Error(err)
	}
}

func TestExpiry(t *testing.T) {
	w := newWorld(t)
	wanted := reading("acme")
	wanted.ExpiresAt = start.Add(time.Hour)
	_, text := w.create(wanted)
	w.now = wanted.ExpiresAt.Add(-time.Microsecond)
	if !w.opens(w.here, text) {
		t.Error("refused before its time")
	}
	w.now = wanted.ExpiresAt // while it is cached
	if w.opens(w.here, text) || w.opens(w.there, text) {
		t.Error("it outlives its time")
	}
}

func TestRevocationTakesASecondAtMost(t *testing.T) {
	w := newWorld(t)
	key, text := w.create(reading("acme"))
	if !w.opens(w.here, text) || !w.opens(w.there, text) {
		t.Fatal("it does not open")
	}
	if err := w.here.Revoke(t.Context(), operator, key.ID); err != nil {
		t.Fatal(err)
	}
	if w.opens(w.here, text) {
		t.Error("the process that revoked it still takes it")
	}
	now := w.now
	for _, passes := range []time.Duration{-time.Hour, time.Second} { // the clock may be set back
		w.now = now.Add(passes)
		if w.opens(w.there, text) {
			t.Errorf("another process still takes it after %s", passes)
		}
	}
}

// A request that has just looked the key up when it is revoked goes on; it is the last.
func TestRevocationMeetsALookUp(t *testing.T) {
	w := newWorld(t)
	key, text := w.create(reading("acme"))
	w.found = func() {
		w.found = nil
		if err := w.here.Revoke(t.Context(), operator, key.ID); err != nil {
			t.Fatal(err)
		}
	}
	if !w.opens(w.here, text) {
		t.Error("what was looked up before is refused")
	}
	if w.opens(w.here, text) {
		t.Error("the process that revoked it still takes it")
	}
}

func TestRevokeKeepsToItsTenant(t *testing.T) {
	w := newWorld(t)
	key, text := w.create(reading("acme"))
	if err := w.here.Revoke(t.Context(), reading("other"), key.ID); !problem.Is(err, problem.NotFound) {
		t.Errorf("got %v", err)
	}
	if err := w.here.Revoke(t.Context(), operator, "key_none"); !problem.Is(err, problem.NotFound) {
		t.Errorf("got %v", err)
	}
	if !w.opens(w.there, text) {
		t.Error("it was revoked all the same")
	}
}

func TestAKeyIsLookedUpOnceASecond(t *testing.T) {
	w := newWorld(t)
	_, text := w.create(reading("acme"))
	for range 100 {
		w.opens(w.here, text)
		w.now = w.now.Add(9 * time.Millisecond)
	}
	if w.lookups != 1 {
		t.Errorf("%d look-ups", w.lookups)
	}
}

func TestAStoreThatIsAwayIsNoRefusal(t *testing.T) {
	w := newWorld(t)
	_, text := w.create(reading("acme"))
	w.fail = errors.New("away")
	if _, err := w.here.Authenticate(t.Context(), text); !errors.Is(err, w.fail) || problem.Is(err, problem.Unauthorized) {
		t.Errorf("got %v", err)
	}
	w.fail = nil
	if !w.opens(w.here, text) {
		t.Error("the error was remembered")
	}
}

func TestLastUse(t *testing.T) {
	w := newWorld(t)
	key, text := w.create(reading("acme"))
	w.now = w.now.Add(time.Hour)
	w.opens(w.here, text)
	next, err := w.here.TouchStep(t.Context())
	if err != nil || !next.After(w.now) {
		t.Errorf("next %s, %v", next, err)
	}
	listed, err := w.here.List(t.Context(), reading("acme"), "", access.Page{Limit: 10})
	if err != nil || len(listed) != 1 || listed[0].ID != key.ID || !listed[0].LastUsedAt.Equal(w.now) {
		t.Errorf("listed %+v, %v", listed, err)
	}
}

// Who looks for a key that leaked must not see uses that there were none of.
func TestARefusedKeyIsNotUsed(t *testing.T) {
	w := newWorld(t)
	revoked, text := w.create(reading("acme"))
	w.opens(w.there, text)
	if err := w.here.Revoke(t.Context(), operator, revoked.ID); err != nil {
		t.Fatal(err)
	}
	wanted := reading("acme")
	wanted.ExpiresAt = w.now.Add(time.Minute)
	_, expiring := w.create(wanted)
	last := w.now
	if _, err := w.there.TouchStep(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Hour)
	for _, keys := range []*access.Keys{w.here, w.there} {
		if w.opens(keys, text) || w.opens(keys, expiring) {
			t.Error("it is taken")
		}
		if _, err := keys.TouchStep(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	listed, err := w.here.List(t.Context(), reading("acme"), "", access.Page{Limit: 10})
	if err != nil || len(listed) != 2 {
		t.Fatalf("listed %+v, %v", listed, err)
	}
	for _, key := range listed {
		if key.LastUsedAt.After(last) {
			t.Errorf("%s was used at %s", key.ID, key.LastUsedAt)
		}
	}
}

func TestAListKeepsToItsTenant(t *testing.T) {
	w := newWorld(t)
	w.create(reading("acme"))
	others, _ := w.create(reading("other"))
	if listed, err := w.here.List(t.Context(), reading("other"), "acme", access.Page{Limit: 10}); err != nil || len(listed) != 1 || listed[0].ID != others.ID {
		t.Errorf("a tenant sees %+v, %v", listed, err)
	}
	if listed, err := w.here.List(t.Context(), operator, "", access.Page{Limit: 10}); err != nil || len(listed) != 2 {
		t.Errorf("an operator sees %+v, %v", listed, err)
	}
}

func TestTheFirstKeyIsMadeOnce(t *testing.T) {
	w := newWorld(t)
	shown, _, err := w.here.FirstKey(t.Context(), "")
	if err != nil || !w.opens(w.there, shown) {
		t.Fatalf("%q, %v", shown, err)
	}
	if again, _, err := w.there.FirstKey(t.Context(), ""); err != nil || again != "" {
		t.Errorf("a second start made %q, %v", again, err)
	}
	if key, err := w.here.Authenticate(t.Context(), shown); err != nil || !key.IsPlatform() || !slices.Equal(key.Scopes, domain.Scopes()) {
		t.Errorf("it is %+v, %v", key, err)
	}
}

// Each process finds no key before one of them has made it.
func TestOfProcessesThatStartAtOnceOneMakesTheFirstKey(t *testing.T) {
	w := newWorld(t)
	meanwhile := ""
	w.listed = func() {
		w.listed = nil
		var err error
		if meanwhile, _, err = w.there.FirstKey(t.Context(), ""); err != nil {
			t.Error(err)
		}
	}
	shown, _, err := w.here.FirstKey(t.Context(), "")
	if err != nil || shown != "" || !w.opens(w.here, meanwhile) {
		t.Errorf("one shows %q, %v, the other %q", shown, err, meanwhile)
	}
	if listed, err := w.Keys(t.Context(), "", access.Page{Limit: 10}); err != nil || len(listed) != 1 {
		t.Errorf("there are %+v, %v", listed, err)
	}
}

func TestTheFirstKeyThatIsGiven(t *testing.T) {
	w := newWorld(t)
	const given = "a-key-of-the-operator-0123456789"
	for range 2 {
		if shown, refused, err := w.here.FirstKey(t.Context(), given); err != nil || shown != "" || refused {
			t.Fatalf("%q, %t, %v", shown, refused, err)
		}
	}
	if listed, err := w.Keys(t.Context(), "", access.Page{Limit: 10}); err != nil || len(listed) != 1 || !w.opens(w.here, given) || len(listed[0].Prefix) > len(given)/2 {
		t.Errorf("%+v, %v", listed, err)
	}
	if shown, _, err := w.here.FirstKey(t.Context(), ""); err != nil || shown != "" {
		t.Errorf("a start without it made %q beside it, %v", shown, err)
	}
	listed, _ := w.Keys(t.Context(), "", access.Page{Limit: 1})
	if err := w.there.Revoke(t.Context(), operator, listed[0].ID); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.Add(time.Second) // and here it is known
	if shown, refused, err := w.here.FirstKey(t.Context(), given); err != nil || shown != "" || !refused || w.opens(w.here, given) {
		t.Errorf("once it is revoked: %q, %t, %v", shown, refused, err)
	}
	for _, wrong := range []string{strings.Repeat("x", 19), strings.Repeat("x", 201), "with white space in the middle"} {
		if _, _, err := w.here.FirstKey(t.Context(), wrong); err == nil {
			t.Errorf("%q is taken", wrong)
		}
	}
	for _, right := range []string{strings.Repeat("x", 20), strings.Repeat("x", 200)} {
		if _, refused, err := w.here.FirstKey(t.Context(), right); err != nil || refused || !w.opens(w.here, right) {
			t.Errorf("one of %d characters does not open: %t, %v", len(right), refused, err)
		}
	}
}

// A start that hears of no error goes on: with a key that nobody was shown, or with none.
func TestAStartIsToldThatThereIsNoFirstKey(t *testing.T) {
	const given = "a-key-of-the-operator-0123456789"
	away := errors.New("away")
	for name, c := range map[string]struct {
		given string
		fail  func(*world)
	}{
		"not listed": {"", func(w *world) { w.unlisted = away }},
		"not made":   {"", func(w *world) { w.unsaved = away }},
		"not saved":  {given, func(w *world) { w.unsaved = away }},
		"not looked up": {given, func(w *world) { // it is there from an earlier start
			if _, _, err := w.there.FirstKey(w.Context(), given); err != nil {
				w.Fatal(err)
			}
			w.counting.fail = away
		}},
	} {
		w := newWorld(t)
		c.fail(w)
		if shown, refused, err := w.here.FirstKey(t.Context(), c.given); !errors.Is(err, away) || shown != "" || refused {
			t.Errorf("%s: %q, %t, %v", name, shown, refused, err)
		}
	}
}
