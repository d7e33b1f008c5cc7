package postgres

import (
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"
)

// notByTenant is the keys of what is no tenant's, or is asked for before anybody knows whose it is.
var notByTenant = map[string]string{
	"api_keys_hash_key":          "whoever calls shows a key, and no tenant",
	"api_keys_by_id":             "a platform's key revokes keys of all tenants, by their IDs",
	"idempotency_keys_pkey":      "a digest of the tenant and of what it asked",
	"records_topic_position_idx": "the log's order is that of all tenants",
	"consumer_offsets_pkey":      "how far a group has read the log",
	"incarnations_pkey":          "processes",
	"log_shards_pkey":            "one row, which older processes read",
	"projections_pkey":           "how far the log is counted",
	"schema_migrations_pkey":     "the schema",
	"records_by_topic":           "the same",
}

// TestKeysBeginWithTheTenant holds that what is a tenant's is unique within the tenant: the schema can be distributed by it.
func TestKeysBeginWithTheTenant(t *testing.T) {
	t.Parallel()
	db := openEmpty(t)
	ofWeek := regexp.MustCompile(`_(w\d+|kept|default)(_|$)`)
	seen := map[string]bool{}
	err := db.Query(t.Context(), func(r pgx.Rows) error {
		var index, first string
		if err := r.Scan(&index, &first); err != nil {
			return err
		}
		index = ofWeek.ReplaceAllString(index, "$2")
		if _, other := notByTenant[index]; first != "tenant_id" && !other {
			t.Errorf("%s begins with %s", index, first)
		} else if first != "tenant_id" {
			seen[index] = true
		}
		return nil
	}, `SELECT c.relname, a.attname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace`)
	if err != nil {
		t.Fatal(err)
	}
	for index := range notByTenant {
		if !seen[index] {
			t.Errorf("%s is not there, or begins with the tenant", index)
		}
	}
}
