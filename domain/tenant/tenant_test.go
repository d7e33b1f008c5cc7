package tenant_test

import (
	"strings"
	"testing"

	"github.com/ordinavo/webhooks/domain/tenant"
)

func TestValid(t *testing.T) {
	for id, want := range map[tenant.ID]bool{
		"tenant-123": true, "a": true, "A.b_C-9": true, "-": true, "...": true,
		tenant.ID(strings.Repeat("x", 64)): true,
		tenant.ID(strings.Repeat("x", 65)): false,
		"":                                 false,
		" ":                                false,
		"a b":                              false,
		"a/b":                              false, // it would reach into another tenant's streams
		"a\n":                              false,
		"\na":                              false,
		"a\x00":                            false,
		"é":                                false,
		"tenant\u00a0":                     false,
		"\xff":                             false,
		"a:b":                              false,
		"a%2fb":                            false,
	} {
		if id.Valid() != want {
			t.Errorf("%q: valid is %t", id, !want)
		}
	}
}

func TestKnownFeature(t *testing.T) {
	for feature, want := range map[tenant.Feature]bool{"billing_webhooks": true, "": false, "billing": false, "Billing_Webhooks": false} {
		if tenant.KnownFeature(feature) != want {
			t.Errorf("%q: known is %t", feature, !want)
		}
	}
}
