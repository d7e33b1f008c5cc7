package access_test

import (
	"slices"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/domain/access"
)

func TestScopesAreTheContracts(t *testing.T) {
	want := []access.Scope{
		"events.write", "events.read", "directory.write", "webhooks.read", "webhooks.manage",
		"webhook_deliveries.read", "webhook_deliveries.retry", "platform.admin",
	}
	if got := access.Scopes(); !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestAKeyAllowsItsScopesAlone(t *testing.T) {
	for _, has := range access.Scopes() {
		for _, asked := range append(access.Scopes(), "", "*", "events") {
			if got := (access.Key{Scopes: []access.Scope{has}}).Allows(asked); got != (asked == has) {
				t.Errorf("a key with %s allows %q: %t", has, asked, got)
			}
		}
	}
}

func TestGrantable(t *testing.T) {
	scopes := func(s ...access.Scope) []access.Scope { return s }
	for name, c := range map[string]struct {
		key  access.Key
		want []access.Scope
	}{
		"a tenant's key":               {access.Key{Tenant: "t", Scopes: scopes(access.WebhooksManage, access.EventsRead)}, scopes(access.EventsRead, access.WebhooksManage)},
		"a tenant's key without any":   {access.Key{Tenant: "t"}, nil},
		"a tenant's key that is wrong": {access.Key{Tenant: "t", Scopes: scopes(access.PlatformAdmin, access.EventsRead)}, scopes(access.EventsRead)},
		"a platform key":               {access.Key{Scopes: scopes(access.EventsWrite)}, scopes(access.EventsWrite)},
		"an operator's":                {access.Key{Scopes: scopes(access.PlatformAdmin)}, access.Scopes()},
	} {
		var got []access.Scope
		for _, scope := range access.Scopes() {
			if c.key.Grantable(scope) {
				got = append(got, scope)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s may hand on %v, want %v", name, got, c.want)
		}
	}
}

func TestLive(t *testing.T) {
	now := time.Date(2026, 6, 18, 16, 40, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		key  access.Key
		want bool
	}{
		"for ever":             {access.Key{}, true},
		"until later":          {access.Key{ExpiresAt: now.Add(1)}, true},
		"until now":            {access.Key{ExpiresAt: now}, false},
		"until before":         {access.Key{ExpiresAt: now.Add(-time.Hour)}, false},
		"revoked":              {access.Key{RevokedAt: now.Add(-1)}, false},
		"revoked, not expired": {access.Key{RevokedAt: now, ExpiresAt: now.Add(time.Hour)}, false},
	} {
		if c.key.Live(now) != c.want {
			t.Errorf("%s: live is %t", name, !c.want)
		}
	}
}

func TestIsPlatform(t *testing.T) {
	if !(access.Key{}).IsPlatform() || (access.Key{Tenant: "t"}).IsPlatform() {
		t.Error("a key is the platform's when it names no tenant")
	}
}
