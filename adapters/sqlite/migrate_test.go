package sqlite_test

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ordinavo/webhooks/adapters/schema"
	"github.com/ordinavo/webhooks/adapters/sqlite"
	"github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/migrations"
)

// newestSchema is that of the newest migration.
func newestSchema(t *testing.T, db *sqlite.DB) int {
	t.Helper()
	_, newest, err := db.SchemaVersion()
	if err != nil {
		t.Fatal(err)
	}
	if newest < 3 {
		t.Fatalf("the newest schema is %d", newest)
	}
	return int(newest)
}

func schemaIs(t *testing.T, db *sqlite.DB, want int) {
	t.Helper()
	current, _, err := db.SchemaVersion()
	if err != nil {
		t.Fatal(err)
	}
	if int(current) != want {
		t.Fatalf("the schema is %d, want %d", current, want)
	}
}

// steps are the versions of the migrations, the newest first, down to the empty database.
func steps(t *testing.T) (versions []int) {
	t.Helper()
	files, err := fs.Glob(migrations.SQLite, "sqlite/*.up.sql")
	if err != nil {
		t.Fatal(err)
	}
	versions = []int{0}
	for _, file := range files { // sorted by name
		number, _, _ := strings.Cut(strings.TrimPrefix(file, "sqlite/"), "_")
		version, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		versions = append(versions, version)
	}
	slices.Reverse(versions)
	return versions
}

// names lists tables and indexes, apart from those of SQLite and of the migrations themselves.
func names(t *testing.T, db *sqlite.DB) (list []string) {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_schema
		WHERE name NOT LIKE 'sqlite_%' AND tbl_name <> 'schema_migrations' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			t.Fatal(err)
		}
		list = append(list, name)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return list
}

// fillAll writes a row or more into every table that there is, whatever its columns.
func fillAll(t *testing.T, db *sqlite.DB, id tenant.ID) {
	t.Helper()
	s := sqlite.NewStore(db, tagging{})
	if err := s.CreateTenant(t.Context(), access.Tenant{ID: id, Name: "kept", Weight: tenant.DefaultWeight, CreatedAt: time.UnixMicro(1)}); err != nil {
		t.Fatal(err)
	}
	for table, values := range map[string]string{
		"records":           `NULL, 't', ?1, '', 0, 'c', x'', '{}', 1`,
		"consumer_offsets":  `?1, 't', 1`,
		"tenant_features":   `?1, 'f', 1, 1`,
		"api_keys":          `?1, 'key_' || ?1, ?1, '', '', '[]', '', 1, NULL, NULL, NULL`,
		"customers":         `?1, 1, NULL, NULL`,
		"locations":         `?1, 1, NULL, NULL, NULL`,
		"contacts":          `?1, 1, NULL`,
		"external_ids":      `?1, 'sap', 'target', 1, 'x'`,
		"idempotency_keys":  `?1, x'', '', 1, 1, NULL`,
		"events":            `?1, 'evt_1', 1, 'e', 1, 1, x'', x'', '', '{}', NULL`,
		"subscriptions":     `?1, 'sub_1', 'active', 1, '{}', NULL, 0`,
		"rotation_notices":  `?1, 'sub_1', 1`,
		"secrets":           `?1, 'sub_1', 'sec_1', x'', 1`,
		"sweeps":            `?1, 'sub_1', 'park', 1`,
		"bodies":            `?1, 'evt_1', 1, x''`,
		"gated_events":      `?1, 'evt_1', 'sub_1', 'f', 1, 1`,
		"open_deliveries":   `?1, 'dlv_1', 'evt_1', 'e', 'sub_1', 1, 1, '[]', 'pending', 1, 0, 0, 0, 1, 1, 1, 1, '', NULL, NULL, 0`,
		"closed_deliveries": `?1, 'dlv_2', 'evt_1', 'e', 'sub_1', 1, 1, '[]', 'succeeded', 1, 0, 0, 0, 1, 1, 1, ''`,
		"incarnations":      `?1, 1, 1`,
		"daily_events":      `?1, 1, 1`,
		"circuits":          `?1, 'sub_1', 'inc_1', 1, NULL, 1`,
		"jobs":              `?1, 'job_1', 1, x''`,
	} {
		if err := exec(t.Context(), db, fmt.Sprintf(`INSERT INTO %s VALUES (%s)`, table, values), id); err != nil {
			t.Fatalf("fill %s: %v", table, err)
		}
	}
}

func TestMigrationsUpAndDownWithData(t *testing.T) {
	db := openDB(t)
	schemaIs(t, db, 0)
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	newest := newestSchema(t, db)
	schemaIs(t, db, newest)
	whole := names(t, db)
	versions := steps(t)
	bottom := len(versions) - 1
	for depth := 1; depth <= bottom; depth++ { // one step down and up, then two, to the very bottom
		fillAll(t, db, tenant.ID(fmt.Sprintf("t%d", depth)))
		for step := 1; step <= depth; step++ {
			if err := db.MigrateDown(1); err != nil {
				t.Fatalf("down from %d with data: %v", versions[step-1], err)
			}
			schemaIs(t, db, versions[step])
		}
		if depth == bottom {
			if left := names(t, db); len(left) > 0 {
				t.Errorf("the way down leaves %v", left)
			}
		}
		if err := db.Migrate(); err != nil {
			t.Fatalf("up again: %v", err)
		}
		schemaIs(t, db, newest)
		if got := names(t, db); !slices.Equal(got, whole) {
			t.Errorf("after %d steps down and up there is\n%v, want\n%v", depth, got, whole)
		}
		if depth < bottom-1 { // the tenants' own migration was not taken back
			if _, err := sqlite.NewStore(db, tagging{}).Tenant(t.Context(), "t1"); err != nil {
				t.Errorf("a tenant is gone after %d steps down and up: %v", depth, err)
			}
		}
		if err := exec(t.Context(), db, `DELETE FROM consumer_offsets`); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheSecretsOfTheDeletedGo takes the database of a version that kept them; another tenant's subscription of the same ID is its own.
func TestTheSecretsOfTheDeletedGo(t *testing.T) {
	db := openDB(t)
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(db.Migrate())
	for sub, status := range map[string]string{"sub_1": "active", "sub_2": "deleted", "sub_3": "disabled"} {
		ok(exec(t.Context(), db, `INSERT INTO subscriptions (tenant_id, subscription_id, status, version, state) VALUES ('a', ?, ?, 1, '{}')`, sub, status))
		ok(exec(t.Context(), db, `INSERT INTO secrets (tenant_id, subscription_id, secret_id, sealed, created_at) VALUES ('a', ?1, 'sec_1', x'', 1), ('b', ?1, 'sec_1', x'', 1)`, sub))
	}
	for _, version := range steps(t) {
		if version < 28 {
			break
		}
		ok(db.MigrateDown(1))
	}
	ok(db.Migrate())
	var left string
	rows, err := db.Query(t.Context(), `SELECT group_concat(tenant_id || ' ' || subscription_id, ', ' ORDER BY tenant_id, subscription_id) FROM secrets`)
	ok(err)
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		ok(rows.Scan(&left))
	}
	ok(rows.Err())
	if want := "a sub_1, a sub_3, b sub_1, b sub_2, b sub_3"; left != want {
		t.Errorf("there are the secrets of %s, want those of %s", left, want)
	}
}

// Whoever took the version to go back to for the number of steps lost all that there was, and was told that the limit was short.
func TestMoreStepsThanThereAreTakeNothingBack(t *testing.T) {
	db := openDB(t)
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	newest := newestSchema(t, db)
	if err := db.MigrateDown(int(newest)); err == nil || !strings.Contains(err.Error(), "migrations can be taken back") {
		t.Errorf("got %v", err)
	}
	schemaIs(t, db, newest)
}

func TestMigratingTwiceChangesNothing(t *testing.T) {
	db := openDB(t)
	for range 2 {
		if err := db.Migrate(); err != nil {
			t.Fatal(err)
		}
	}
	schemaIs(t, db, newestSchema(t, db))
}

func TestNewerSchemaIsRefused(t *testing.T) {
	db := openDB(t)
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	before := names(t, db)
	if err := exec(t.Context(), db, `UPDATE schema_migrations SET version = ?`, newestSchema(t, db)+1); err != nil {
		t.Fatal(err)
	}
	for what, run := range map[string]func() error{"up": db.Migrate, "down": func() error { return db.MigrateDown(1) }} {
		if err := run(); !errors.Is(err, schema.ErrNewer) {
			t.Errorf("%s gave %v, want schema.ErrNewer", what, err)
		}
	}
	if !slices.Equal(names(t, db), before) {
		t.Error("a refused migration changed the schema")
	}
}

func TestHalfMigratedSchemaIsTold(t *testing.T) {
	db := openDB(t)
	if err := db.Migrate(); err != nil {
		t.Fatal(err)
	}
	if err := exec(t.Context(), db, `UPDATE schema_migrations SET dirty = 1`); err != nil {
		t.Fatal(err)
	}
	applied, _, err := db.SchemaVersion()
	for what, err := range map[string]error{"status": err, "up": db.Migrate(), "down": db.MigrateDown(1)} {
		if err == nil || !strings.Contains(err.Error(), schema.ErrHalfWay(applied).Error()) {
			t.Errorf("%s says %v", what, err)
		}
	}
}
