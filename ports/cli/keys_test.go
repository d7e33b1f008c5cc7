package cli_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/application/access"
	keys "github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/problem"
	"github.com/ordinavo/webhooks/domain/tenant"
)

// keyStore is an access.KeyStore.
type keyStore struct {
	keys   []keys.Key // newest first
	hashes []access.Hash
}

func (s *keyStore) InTx(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (s *keyStore) CountKeys(context.Context, tenant.ID, time.Time) (int, error) { return 0, nil }

func (s *keyStore) SaveKey(_ context.Context, k keys.Key, hash access.Hash) error {
	s.keys, s.hashes = slices.Insert(s.keys, 0, k), append(s.hashes, hash)
	return nil
}

func (s *keyStore) KeyByHash(context.Context, access.Hash) (keys.Key, error) {
	return keys.Key{}, problem.New(problem.NotFound, "There is no such key.")
}

func (s *keyStore) Keys(_ context.Context, owner tenant.ID, page access.Page) (found []keys.Key, err error) {
	for _, k := range s.keys {
		if (owner == "" || k.Tenant == owner) && (page.After == "" || k.ID < page.After) && len(found) < page.Limit {
			found = append(found, k)
		}
	}
	return found, nil
}

func (s *keyStore) RevokeKey(_ context.Context, _ tenant.ID, id string, now time.Time) error {
	for i := range s.keys {
		if s.keys[i].ID == id {
			s.keys[i].RevokedAt = now
			return nil
		}
	}
	return problem.New(problem.NotFound, "There is no such key.")
}

func (s *keyStore) TouchKeys(context.Context, map[string]time.Time) error { return nil }

// The output is the key alone, so that a script can take it.
func TestAKeyIsShownOnce(t *testing.T) {
	d := &told{}
	code, out, errs := run(d, nil, "keys", "create", "--name", "ERP of Acme", "--tenant=acme", "--scopes", "webhooks.read, events.read", "--subscription=sub_1", "--expires=90d", "--database-url=sqlite:x.db")
	text := strings.TrimSuffix(out, "\n")
	if code != 0 || !strings.HasPrefix(text, "ord_live_") || strings.ContainsAny(text, " \n") || strings.Contains(errs, text) || d.did[0] != "keys of x.db" {
		t.Fatalf("code %d, did %q, printed %q and %q", code, d.did, out, errs)
	}
	made := d.keys.keys[0]
	if made.Name != "ERP of Acme" || made.Tenant != "acme" || made.SubscriptionID != "sub_1" || !slices.Equal(made.Scopes, []keys.Scope{"webhooks.read", "events.read"}) ||
		made.ExpiresAt.Before(time.Now().Add(89*24*time.Hour)) || made.ExpiresAt.After(time.Now().Add(91*24*time.Hour)) || d.keys.hashes[0] != access.HashOf(text) {
		t.Errorf("made %+v", made)
	}
	for _, part := range []string{"key_1", "ERP of Acme", "acme/sub_1", "shown this once"} {
		if !strings.Contains(errs, part) {
			t.Errorf("it does not tell %q: %q", part, errs)
		}
	}
}

func TestAllScopesAreThoseThatItMayHave(t *testing.T) {
	d := &told{}
	run(d, nil, "keys", "create", "--name=p", "--scopes=all", "--expires=2099-01-01T00:00:00Z")
	run(d, nil, "keys", "create", "--name=t", "--scopes=all", "--tenant=acme")
	if len(d.keys.keys) != 2 || !slices.Equal(d.keys.keys[1].Scopes, keys.Scopes()) || d.keys.keys[1].ExpiresAt.Year() != 2099 ||
		len(d.keys.keys[0].Scopes) != len(keys.Scopes())-1 || d.keys.keys[0].Allows(keys.PlatformAdmin) {
		t.Errorf("made %+v", d.keys.keys)
	}
}

func TestKeysAreListedOverPages(t *testing.T) {
	d := &told{}
	for i := range 450 {
		d.keys.keys = slices.Insert(d.keys.keys, 0, keys.Key{ID: fmt.Sprintf("key_%03d", i), Name: "k", Prefix: "ord_live_abc", Tenant: "acme", Scopes: []keys.Scope{"events.write"}})
	}
	d.keys.keys[0].Tenant, d.keys.keys[0].LastUsedAt = "", time.Date(2026, 6, 18, 17, 0, 0, 0, time.UTC)
	code, out, _ := run(d, nil, "keys", "list")
	if lines := strings.Count(out, "\n"); code != 0 || lines != 451 || !strings.Contains(out, "the platform") || !strings.Contains(out, "2026-06-18T17:00:00Z") || !strings.Contains(out, "ord_live_abc…") {
		t.Errorf("code %d, %d lines: %.300s", code, lines, out)
	}
	if _, out, _ := run(d, nil, "keys", "list", "--tenant", "acme"); strings.Count(out, "\n") != 450 || strings.Contains(out, "the platform") {
		t.Errorf("of one tenant: %.300s", out)
	}
	if code, out, _ := run(d, nil, "keys", "revoke", "key_007"); code != 0 || !strings.Contains(out, "within a second") {
		t.Errorf("code %d: %s", code, out)
	}
	if _, out, _ := run(d, nil, "keys", "list"); strings.Count(out, "never\n") != 449 {
		t.Error("the list does not show what was revoked")
	}
}

// The year 1 is some languages' word for no time, and year 10000 none that an answer can show.
func TestAnExpiryOutOfRangeMakesNoKey(t *testing.T) {
	for expires, want := range map[string]string{
		"0001-01-01T00:00:00Z": "is in the past", "2020-01-01T00:00:00Z": "is in the past", "9999-12-31T23:59:59-23:59": "must be in the years 1970 to 9999",
	} {
		d := &told{}
		if code, out, errs := run(d, nil, "keys", "create", "--name", "x", "--scopes", "webhooks.read", "--expires", expires); code != 1 || out != "" || !strings.Contains(errs, want) || len(d.keys.keys) != 0 {
			t.Errorf("%s: code %d, printed %q and %q", expires, code, out, errs)
		}
	}
}

// A variable of a script that is not set makes no key for every tenant, for every subscription or for ever.
func TestAnEmptyFlagMakesNoKey(t *testing.T) {
	for _, flag := range []string{"--tenant", "--subscription", "--expires"} {
		d := &told{}
		if code, out, errs := run(d, nil, "keys", "create", "--name", "x", "--scopes", "webhooks.read", flag, ""); code != 2 || out != "" || !strings.Contains(errs, flag+" needs a value") || len(d.keys.keys) != 0 {
			t.Errorf("%s: code %d, printed %q and %q", flag, code, out, errs)
		}
	}
}
