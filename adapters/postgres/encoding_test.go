package postgres_test

import (
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestWhateverEncodingTheDatabaseSets, a process can migrate, listens, and keeps a text as it is.
func TestWhateverEncodingTheDatabaseSets(t *testing.T) {
	for _, encoding := range []string{"SJIS", "LATIN1", "SQL_ASCII"} {
		t.Run(encoding, func(t *testing.T) {
			t.Parallel()
			url, name := pgtest.Empty(t), "Größe 日本"
			pgtest.Check(t, execute(t.Context(), openURL(t, postgres.Config{URL: url}),
				`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET client_encoding = "`+encoding+`"', current_database()); END $$`))
			db := openURL(t, postgres.Config{URL: url})
			pgtest.Check(t, db.Migrate())
			pgtest.Check(t, postgres.NewStore(db, nil).CreateTenant(t.Context(), access.Tenant{ID: "tenant-1", Name: name, Weight: 1, CreatedAt: time.Now()}))
			if kept := count(t, db, `SELECT octet_length(name) FROM tenants`); kept != int64(len(name)) {
				t.Errorf("%d bytes are kept as %d", len(name), kept)
			}
			for end := time.Now().Add(patience); db.Connections().Polling; {
				if time.Now().After(end) {
					t.Fatal("the server itself is not recognized")
				}
			}
		})
	}
}

// TestAProcessWorksWhereBackslashesEscape: such is the default of databases that are older than the standard's strings.
func TestAProcessWorksWhereBackslashesEscape(t *testing.T) {
	t.Parallel()
	url, name := pgtest.Empty(t), `Back\slash \' GmbH`
	pgtest.Check(t, execute(t.Context(), openURL(t, postgres.Config{URL: url}),
		`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET standard_conforming_strings = off', current_database()); END $$`))
	db := openURL(t, postgres.Config{URL: url})
	pgtest.Check(t, db.Migrate())
	pgtest.Check(t, postgres.NewStore(db, nil).CreateTenant(t.Context(), access.Tenant{ID: "tenant-1", Name: name, Weight: 1, CreatedAt: time.Now()}))
	if n := count(t, db, `SELECT count(*) FROM tenants WHERE name = $1`, name); n != 1 {
		t.Errorf("%d tenants have the name that was given", n)
	}
}
