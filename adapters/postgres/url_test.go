package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ordinavo/webhooks/adapters/postgres"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

// TestTheURLMaySizeThePool, by the parameters that pgx documents: the server knows none of them, so no connection may ask it for them.
func TestTheURLMaySizeThePool(t *testing.T) {
	t.Parallel()
	db := openURL(t, postgres.Config{URL: withDefault(t, withDefault(t, pgtest.Empty(t), "pool_max_conns", "7"), "pool_min_conns", "1")})
	pgtest.Check(t, db.Migrate())
	if most := db.Connections().Max; most != 7 {
		t.Errorf("the pool has up to %d connections", most)
	}
	for end := time.Now().Add(patience); db.Connections().Polling; {
		if time.Now().After(end) {
			t.Fatal("nobody listens")
		}
	}
	for parameter, want := range map[string]string{
		"pool_max_conns=3": "pool_max_conns must be at least 4", "pool_max_conns=0": "pool_max_conns too small", "pool_max_conns=many": "cannot parse pool_max_conns",
		"pool_health_check_period=0s": "pool_health_check_period must be more than 0",
	} {
		if _, err := postgres.Open(postgres.Config{URL: "postgres://me@localhost/ordinavo?" + parameter}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s gave %v, want %q", parameter, err, want)
		}
	}
}

// TestAWrongParameterIsNotWaitedFor: no server will ever take it.
func TestAWrongParameterIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	for parameter, value := range map[string]string{"worken_mem": "64MB", "synchronous_commit": "perhaps"} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := openURL(t, postgres.Config{URL: withDefault(t, url, parameter, value)}).Await(ctx, func(err error) {
			cancel() // rather than for ever
			t.Errorf("%s=%s was waited for, which does not mend it: %v", parameter, value, err)
		})
		cancel()
		if err == nil || !strings.Contains(err.Error(), parameter) {
			t.Errorf("%s=%s gave %v", parameter, value, err)
		}
	}
}

// TestADatabaseWithoutAPlaceForTheSchemaSaysWhy, and what to do.
func TestADatabaseWithoutAPlaceForTheSchemaSaysWhy(t *testing.T) {
	t.Parallel()
	url := pgtest.Empty(t)
	for at, want := range map[string]string{
		withDefault(t, url, "search_path", "nowhere"):                    "search_path names no schema",
		inEncoding(t, "LATIN1"):                                          "encoding LATIN1",
		withDefault(t, pgtest.Empty(t), "search_path", "nowhere,public"): "",
	} {
		err := migrateAt(at)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s gave %v, want %q", at, err, want)
		}
	}
}

// TestADatabaseInAnotherEncodingIsMigratedFurther: in WIN1252, which is that of a server on Windows, all of the schema could be made.
func TestADatabaseInAnotherEncodingIsMigratedFurther(t *testing.T) {
	t.Parallel()
	url := inEncoding(t, "WIN1252")
	conn, err := pgx.Connect(t.Context(), url)
	pgtest.Check(t, err)
	_, err = conn.Exec(t.Context(), "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)") // by an earlier version
	pgtest.Check(t, errors.Join(err, conn.Close(t.Context())))
	pgtest.Check(t, migrateAt(url))
}

// inEncoding is the URL of a database that has no schema yet.
func inEncoding(t *testing.T, encoding string) string {
	t.Helper()
	url := pgtest.Empty(t)
	name := nameIn(url) + "_" + strings.ToLower(encoding)
	conn, err := pgx.Connect(t.Context(), url)
	pgtest.Check(t, err)
	_, err = conn.Exec(t.Context(), "CREATE DATABASE "+name+" ENCODING '"+encoding+"' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
	pgtest.Check(t, err)
	t.Cleanup(func() {
		_, err := conn.Exec(context.Background(), "DROP DATABASE "+name)
		pgtest.Check(t, errors.Join(err, conn.Close(context.Background())))
	})
	return strings.Replace(url, nameIn(url), name, 1)
}

func nameIn(url string) string {
	path, _, _ := strings.Cut(url, "?")
	return path[strings.LastIndex(path, "/")+1:]
}

// migrateAt leaves no connection behind it.
func migrateAt(url string) error {
	db, err := postgres.Open(postgres.Config{URL: url})
	if err != nil {
		return err
	}
	return errors.Join(db.Migrate(), db.Close())
}
