package schema_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/golang-migrate/migrate/v4"
	"github.com/golang-migrate/migrate/v4/database"
	migratepgx "github.com/golang-migrate/migrate/v4/database/pgx/v5"
	migratesqlite "github.com/golang-migrate/migrate/v4/database/sqlite"
	"github.com/golang-migrate/migrate/v4/source/iofs"

	"github.com/ordinavo/webhooks/adapters/schema"
	"github.com/ordinavo/webhooks/tests/pgtest"
)

const refused = "INSERT INTO nowhere VALUES (1)"

// migrations are two, of which the second's last statement is given.
func migrations(last string) fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
		"m/1_one.up.sql": file("CREATE TABLE one (id int)"), "m/1_one.down.sql": file("DROP TABLE one"),
		"m/2_two.up.sql": file("CREATE TABLE two (id int); -- and\n" + last + " -- done"), "m/2_two.down.sql": file("DROP TABLE two; " + last),
	}
}

// drivers open the driver of each kind of database on an empty one.
var drivers = map[string]func(t *testing.T) (*sql.DB, func() (database.Driver, error)){
	"SQLite": func(t *testing.T) (*sql.DB, func() (database.Driver, error)) {
		db := openDB(t, "sqlite", filepath.Join(t.TempDir(), "a.db"))
		return db, func() (database.Driver, error) { return migratesqlite.WithInstance(db, &migratesqlite.Config{}) }
	},
	"PostgreSQL": func(t *testing.T) (*sql.DB, func() (database.Driver, error)) {
		db := openDB(t, "pgx/v5", pgtest.Empty(t))
		return db, func() (database.Driver, error) { return migratepgx.WithInstance(db, &migratepgx.Config{}) }
	},
}

func openDB(t *testing.T, driver, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// TestAMigrationIsDoneOrNot has one fail at its last statement, up and down, and mends it.
func TestAMigrationIsDoneOrNot(t *testing.T) {
	for name, open := range drivers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, newDriver := open(t)
			migrator := func(last string) *migrate.Migrate {
				driver, err := newDriver()
				if err != nil {
					t.Fatal(err)
				}
				files, err := iofs.New(migrations(last), "m")
				if err != nil {
					t.Fatal(err)
				}
				m, err := migrate.NewWithInstance("test", files, name, schema.Atomic(driver))
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			for _, step := range []struct {
				last    string
				run     func(*migrate.Migrate) error
				fails   bool
				version string
				tables  string
			}{
				{refused, (*migrate.Migrate).Up, true, "1", "one"},
				{"SELECT 1;", (*migrate.Migrate).Up, false, "2", "one two"},
				{refused, (*migrate.Migrate).Down, true, "2", "one two"},
				{"SELECT 1;", (*migrate.Migrate).Down, false, "", ""},
			} {
				if err := step.run(migrator(step.last)); (err != nil) != step.fails {
					t.Errorf("with %s: %v", step.last, err)
				}
				if version := texts(t, db, "SELECT version FROM schema_migrations WHERE NOT dirty"); version != step.version {
					t.Errorf("with %s the version is %q, want %q", step.last, version, step.version)
				}
				for _, table := range []string{"one", "two"} {
					_, err := db.Exec("SELECT * FROM " + table)
					if there := err == nil; there != strings.Contains(step.tables, table) {
						t.Errorf("with %s, table %s is there: %t", step.last, table, there)
					}
				}
			}
		})
	}
}

func texts(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	rows, err := db.Query(query)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	return strings.Join(all, " ")
}

func TestNewest(t *testing.T) {
	if n, err := schema.Newest(migrations(""), "m"); n != 2 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

// Migrations have gaps in their numbers: who asked for as many as the version's number lost everything.
func TestNoMoreIsTakenBackThanThereIs(t *testing.T) {
	files := fstest.MapFS{}
	for _, name := range []string{"0001_a", "0003_b", "0007_c"} {
		files["m/"+name+".up.sql"], files["m/"+name+".down.sql"] = &fstest.MapFile{}, &fstest.MapFile{}
	}
	for version, applied := range map[uint]int{0: 0, 1: 1, 3: 2, 7: 3} {
		if err := schema.MayTakeBack(files, "m", version, applied); err != nil {
			t.Errorf("at version %d: %v", version, err)
		}
		if err := schema.MayTakeBack(files, "m", version, applied+1); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("only %d migrations", applied)) {
			t.Errorf("at version %d one more than %d: %v", version, applied, err)
		}
	}
}

// Who tries again, or tells an operator what is wrong, looks for the database's own error.
func TestTheCauseOfAFailureIsFound(t *testing.T) {
	locked := errors.New("locked")
	for name, err := range map[string]error{
		"SQLite's":     &database.Error{OrigErr: locked, Err: "migration failed"},
		"PostgreSQL's": database.Error{OrigErr: locked, Err: "migration failed"},
		"wrapped":      fmt.Errorf("version 3: %w", database.Error{OrigErr: locked}),
		"bare":         locked,
	} {
		if got := schema.Cause(err); !errors.Is(got, locked) || !strings.Contains(got.Error(), err.Error()) {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if err := schema.Cause(nil); err != nil {
		t.Errorf("nothing has the cause %v", err)
	}
}
