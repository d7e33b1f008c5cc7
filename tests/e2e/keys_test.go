package e2e_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/tests/pgtest"
)

// Operators without a key at hand make one on the database itself, beside a service that runs; and whoever ends a key, it
// ends in every process within a second.
func TestKeysOnTheCommandLine(t *testing.T) {
	t.Parallel()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		s := start(t, dir)
		keysOnTheCommandLine(t, environment(dir), s, s)
	})
	t.Run("two processes on PostgreSQL", func(t *testing.T) {
		t.Parallel()
		env := []string{"ORDINAVO_DATABASE_URL=" + pgtest.Empty(t), "ORDINAVO_MASTER_KEY=" + base64.StdEncoding.EncodeToString(make([]byte, 32))}
		keysOnTheCommandLine(t, environment(t.TempDir(), env...), start(t, t.TempDir(), env...), start(t, t.TempDir(), env...))
	})
}

func keysOnTheCommandLine(t *testing.T, env []string, one, two *service) {
	acme := newTenant(t, one)
	create := func(args ...string) (id string, caller api) {
		t.Helper()
		code, out, errs := run(t, env, "", append([]string{"keys", "create", "--name", "rescue", "--scopes", "webhooks.read", "--tenant", acme.id}, args...)...)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, errs)
		}
		id, _, _ = strings.Cut(errs, ",")
		return id, api{t: t, url: one.url, key: strings.TrimSpace(out)}
	}
	list := func() string {
		t.Helper()
		code, out, errs := run(t, env, "", "keys", "list", "--tenant", acme.id)
		if code != 0 {
			t.Fatalf("exit code %d: %s", code, errs)
		}
		return out
	}
	byCommand, first := create()
	byAPI, second := create("--expires", "1h")
	for _, caller := range []api{first, second, first.at(two), second.at(two)} {
		caller.get("/v1/subscriptions").want(http.StatusOK)
		caller.post("/v1/subscriptions", object{}).refused(http.StatusForbidden, "missing_scope")
	}
	eventually(t, "its last use is kept", func() bool {
		for line := range strings.Lines(list()) {
			if strings.HasPrefix(line, byCommand) {
				return strings.Count(line, "never") == 2 // it never expires and is not revoked
			}
		}
		return false
	})

	if code, out, errs := run(t, env, "", "keys", "revoke", byCommand); code != 0 || !strings.Contains(out, byCommand) {
		t.Fatalf("exit code %d: %s%s", code, out, errs)
	}
	revoked := time.Now()
	first.endsWithinASecond(revoked)
	first.at(two).endsWithinASecond(revoked)
	acme.do(http.MethodDelete, "/v1/api-keys/"+byAPI, nil).want(http.StatusNoContent)
	second.at(two).endsWithinASecond(time.Now())

	if code, out, errs := run(t, env, "", "keys", "revoke", byCommand); code != 0 || !strings.Contains(out, byCommand) {
		t.Errorf("revoked again: exit code %d: %s", code, errs)
	}
	if code, _, errs := run(t, env, "", "keys", "revoke", "key_nowhere"); code != 1 || !strings.Contains(errs, "no such key") {
		t.Errorf("one that is not there: exit code %d: %s", code, errs)
	}
	acme.do(http.MethodDelete, "/v1/api-keys/"+byAPI, nil).want(http.StatusNoContent) // once more
	acme.do(http.MethodDelete, "/v1/api-keys/key_nowhere", nil).refused(http.StatusNotFound, "not_found")
	if code, _, errs := run(t, env, "", "keys", "create", "--name=x", "--scopes=webhooks.read", "--tenant=nobody"); code != 1 || !strings.Contains(errs, "no such tenant") {
		t.Errorf("for a tenant that is not there: exit code %d: %s", code, errs)
	}
	if code, _, errs := run(t, env, "", "keys", "create", "--name=x", "--scopes=webhooks.read", "--tenant", acme.id, "--subscription=sub_nobody"); code != 1 || !strings.Contains(errs, "no such subscription") {
		t.Errorf("for a subscription that is not there: exit code %d: %s", code, errs)
	}
	endsAfterUse(t, func(after time.Duration) (api, bool) {
		code, out, _ := run(t, env, "", "keys", "create", "--name=short", "--scopes=webhooks.read", "--tenant", acme.id, "--expires", after.String())
		return api{t: t, url: one.url, key: strings.TrimSpace(out)}, code == 0
	})
}

// endsAfterUse has a key made that ends after a while, a longer one each time until it could be used before that on this machine.
func endsAfterUse(t *testing.T, create func(after time.Duration) (key api, made bool)) {
	t.Helper()
	for after := 2 * time.Second; after < patience; after *= 2 {
		key, made := create(after)
		if !made || key.get("/v1/subscriptions").status != http.StatusOK {
			continue
		}
		eventually(t, "the key ends", func() bool { return key.get("/v1/subscriptions").status == http.StatusUnauthorized })
		return
	}
	t.Fatal("no key could be used before its end")
}
